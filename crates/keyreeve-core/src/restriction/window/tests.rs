use jiff::civil::Time;
use proptest::prelude::*;

use super::*;

fn windows(texts: &[&str]) -> Windows {
    Windows::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn reads_windows() {
    for (text, canonical) in [
        ("Mon-Fri 09:00-17:00 Europe/Berlin", "Mon-Fri 09:00-17:00 Europe/Berlin"),
        ("sat,mon-wed  00:00-24:00  europe/BERLIN", "Mon-Wed,Sat 00:00-24:00 Europe/Berlin"),
        ("Sun 23:59-24:00 UTC", "Sun 23:59-24:00 UTC"),
        ("Mon-Sun 00:00-00:01 Asia/Kathmandu", "Mon-Sun 00:00-00:01 Asia/Kathmandu"),
    ] {
        assert_eq!(text.parse::<Window>().unwrap().to_string(), canonical, "{text}");
    }
}

#[test]
fn refuses_unclear_windows() {
    let long = format!("Mon 09:00-17:00 {}", "x".repeat(200));
    for (text, rule) in [
        ("", "must be days, hours"),
        ("Mon 09:00-17:00", "must be days, hours"),
        ("Mon 09:00-17:00 UTC x", "must be days, hours"),
        ("Mon 9:00-17:00 UTC", "must be days, hours"),
        ("Mon 09:00 UTC", "must be days, hours"),
        ("Mon 09:60-17:00 UTC", "must be days, hours"),
        ("Mon 09:00-24:01 UTC", "must be days, hours"),
        ("Mon 09:00-+7:00 UTC", "must be days, hours"),
        ("Mon 09.00-17.00 UTC", "must be days, hours"),
        (&long, "must be days, hours"),
        ("Mon 22:00-06:00 UTC", "must end after it starts"),
        ("Mon 09:00-09:00 UTC", "must end after it starts"),
        ("Mon 24:00-24:00 UTC", "must end after it starts"),
        ("daily 09:00-17:00 UTC", "must name days as"),
        ("Mon 09:00-17:00 Europe/Atlantis", "must name a time zone"),
        ("Mon 09:00-17:00 Etc/Unknown", "must name a time zone"),
        ("Mon 09:00-17:00 +02:00", "must name a time zone"),
        ("Mon 09:00-17:00 ../../etc/passwd", "must name a time zone"),
    ] {
        let broken = text.parse::<Window>().unwrap_err();
        assert!(broken.rule().starts_with(rule), "{text}: {broken}");
    }
}

#[test]
fn windows_agree_with_each_other() {
    let check = |texts: &[&str]| {
        let windows = texts.iter().map(|text| text.parse().unwrap()).collect();
        Windows::new(windows).map(|_| ()).map_err(|broken| broken.rule().to_owned())
    };
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&["Mon 09:00-12:00 UTC", "Mon 12:00-17:00 UTC"]), Ok(()));
    assert_eq!(check(&["Mon 12:00-17:00 UTC", "Mon 09:00-12:00 UTC"]), Ok(()));
    assert_eq!(check(&["Mon 09:00-12:00 UTC", "Tue 09:00-12:00 UTC"]), Ok(()));
    assert_eq!(
        check(&["Mon 09:00-12:01 UTC", "Tue 08:00-09:00 UTC", "Mon 12:00-17:00 UTC"]),
        Err("must not have windows that overlap".to_owned())
    );
    assert_eq!(
        check(&["Mon 09:00-12:00 UTC", "Tue 09:00-12:00 Europe/Berlin"]),
        Err("must name the same time zone in all windows".to_owned())
    );
    let most: Vec<_> = (0..51).map(|n| format!("Mon 00:{n:02}-00:{:02} UTC", n + 1)).collect();
    let most: Vec<_> = most.iter().map(String::as_str).collect();
    assert_eq!(check(&most[..50]), Ok(()));
    assert_eq!(check(&most), Err("must not have more than 50 windows".to_owned()));
}

#[test]
fn the_start_is_in_and_the_end_is_out() {
    let office = windows(&["Mon-Fri 09:00-17:00 Europe/Berlin"]);
    // 2026-01-05 is a Monday; Berlin is one hour ahead.
    for (moment, expected) in [
        ("2026-01-05T07:59:59.999Z", false),
        ("2026-01-05T08:00:00Z", true),
        ("2026-01-05T15:59:59.999Z", true),
        ("2026-01-05T16:00:00Z", false),
        ("2026-01-04T08:00:00Z", false),
        ("2026-07-06T07:00:00Z", true),
        ("2026-07-06T06:59:59.999Z", false),
    ] {
        assert_eq!(office.contains(at(moment)), expected, "{moment}");
    }
}

#[test]
fn midnight_ends_a_day_and_begins_the_next() {
    let night = windows(&["Fri 22:00-24:00 America/New_York", "Sat 00:00-06:00 America/New_York"]);
    for (moment, expected) in [
        ("2026-01-10T02:59:59.999Z", false),
        ("2026-01-10T03:00:00Z", true),
        ("2026-01-10T04:59:59.999Z", true),
        ("2026-01-10T05:00:00Z", true),
        ("2026-01-10T10:59:59.999Z", true),
        ("2026-01-10T11:00:00Z", false),
    ] {
        assert_eq!(night.contains(at(moment)), expected, "{moment}");
    }
}

#[test]
fn no_windows_means_all_hours() {
    assert!(Windows::default().contains(Timestamp::MIN));
    assert_eq!(Windows::default().next_opening(Timestamp::MAX), Some(Timestamp::MAX));
}

#[test]
fn the_hour_skipped_in_spring_is_never_open() {
    // At 2026-03-29T01:00Z Berlin goes from 02:00 to 03:00.
    let skipped = windows(&["Sun 02:00-03:00 Europe/Berlin"]);
    let first = at("2026-03-28T23:00:00Z");
    for minute in 0..23 * 60 {
        let moment = first + SignedDuration::from_mins(minute);
        assert!(!skipped.contains(moment), "{moment}");
    }
    assert!(!skipped.contains(at("2026-03-29T00:59:59.999Z")));
    assert!(skipped.contains(at("2026-03-22T01:00:00Z")));
    assert!(skipped.contains(at("2026-04-05T00:00:00Z")));
    assert_eq!(skipped.next_opening(at("2026-03-22T02:00:00Z")), None);

    let around = windows(&["Sun 02:30-04:00 Europe/Berlin"]);
    assert!(!around.contains(at("2026-03-29T00:59:59.999Z")));
    assert!(around.contains(at("2026-03-29T01:00:00Z")));
    assert!(around.contains(at("2026-03-29T01:59:59.999Z")));
    assert!(!around.contains(at("2026-03-29T02:00:00Z")));
    assert_eq!(around.next_opening(at("2026-03-29T00:10:00Z")), Some(at("2026-03-29T01:00:00Z")));
}

#[test]
fn the_hour_repeated_in_autumn_is_open_twice() {
    // At 2026-10-25T01:00Z Berlin goes from 03:00 back to 02:00.
    let hour = windows(&["Sun 02:00-03:00 Europe/Berlin"]);
    for (moment, expected) in [
        ("2026-10-24T23:59:59.999Z", false),
        ("2026-10-25T00:00:00Z", true),
        ("2026-10-25T00:59:59.999Z", true),
        ("2026-10-25T01:00:00Z", true),
        ("2026-10-25T01:59:59.999Z", true),
        ("2026-10-25T02:00:00Z", false),
    ] {
        assert_eq!(hour.contains(at(moment)), expected, "{moment}");
    }
    let half = windows(&["Sun 02:00-02:30 Europe/Berlin"]);
    let evening = at("2026-10-24T20:00:00Z");
    assert_eq!(half.next_opening(evening), Some(at("2026-10-25T00:00:00Z")));
    assert!(!half.contains(at("2026-10-25T00:30:00Z")));
    assert_eq!(half.next_opening(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
    // Opens at the change of the clock, not at its start.
    let over = windows(&["Sun 01:30-02:30 Europe/Berlin"]);
    assert_eq!(over.next_opening(at("2026-10-25T00:45:00Z")), Some(at("2026-10-25T01:00:00Z")));
}

#[test]
fn clocks_that_go_back_over_midnight() {
    // At 2010-11-07T02:31Z St. John's went from 00:01 on Sunday back to 23:01 on Saturday.
    let late = windows(&["Sat 23:30-23:40 America/St_Johns"]);
    let sunday = at("2010-11-07T02:30:30Z");
    assert!(!late.contains(sunday));
    assert_eq!(late.next_opening(sunday), Some(at("2010-11-07T03:00:00Z")));
}

#[test]
fn both_edges_in_new_york() {
    // 2026-03-08T07:00Z: 02:00 to 03:00. 2026-11-01T06:00Z: 02:00 back to 01:00.
    let skipped = windows(&["Sun 02:00-03:00 America/New_York"]);
    assert!(!skipped.contains(at("2026-03-08T06:59:59.999Z")));
    assert!(!skipped.contains(at("2026-03-08T07:00:00Z")));
    let repeated = windows(&["Sun 01:00-02:00 America/New_York"]);
    for (moment, expected) in [
        ("2026-11-01T04:59:59.999Z", false),
        ("2026-11-01T05:00:00Z", true),
        ("2026-11-01T06:59:59.999Z", true),
        ("2026-11-01T07:00:00Z", false),
    ] {
        assert_eq!(repeated.contains(at(moment)), expected, "{moment}");
    }
}

#[test]
fn zones_three_quarters_of_an_hour_off() {
    // Nepal is 5:45 ahead: 09:00 there is 03:15 UTC.
    let office = windows(&["Mon 09:00-17:00 Asia/Kathmandu"]);
    for (moment, expected) in [
        ("2026-01-05T03:14:59.999Z", false),
        ("2026-01-05T03:15:00Z", true),
        ("2026-01-05T11:14:59.999Z", true),
        ("2026-01-05T11:15:00Z", false),
    ] {
        assert_eq!(office.contains(at(moment)), expected, "{moment}");
    }
}

#[test]
fn the_next_opening() {
    let office =
        windows(&["Mon-Fri 13:00-17:00 Europe/Berlin", "Mon-Fri 09:00-12:00 Europe/Berlin"]);
    for (moment, opening) in [
        ("2026-01-05T08:00:00.001Z", "2026-01-05T08:00:00.001Z"),
        ("2026-01-05T07:59:59.999Z", "2026-01-05T08:00:00Z"),
        ("2026-01-05T11:00:00Z", "2026-01-05T12:00:00Z"),
        ("2026-01-05T16:00:00Z", "2026-01-06T08:00:00Z"),
        ("2026-01-09T16:00:00Z", "2026-01-12T08:00:00Z"),
        ("2026-03-27T16:00:00Z", "2026-03-30T07:00:00Z"),
    ] {
        assert_eq!(office.next_opening(at(moment)), Some(at(opening)), "{moment}");
    }
    let weekly = windows(&["Mon 09:00-09:01 UTC"]);
    let closed = at("2026-01-05T09:01:00Z");
    assert_eq!(weekly.next_opening(closed), Some(at("2026-01-12T09:00:00Z")));
    assert_eq!(weekly.next_opening(Timestamp::MAX), None);
}

#[test]
fn travels_as_a_list_of_texts() {
    let json = r#"["Mon 09:00-12:00 UTC","Tue-Wed 13:00-24:00 UTC"]"#;
    let windows: Windows = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&windows).unwrap(), json);
    let overlap = r#"["Mon 09:00-12:00 UTC","Mon 11:00-13:00 UTC"]"#;
    let error = serde_json::from_str::<Windows>(overlap).unwrap_err().to_string();
    assert!(error.contains("must not have windows that overlap"), "{error}");
}

const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "UTC",
];

/// From 2020 to 2030.
fn arb_moment() -> impl Strategy<Value = Timestamp> {
    (1_577_836_800_000_i64..1_893_456_000_000)
        .prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

/// Near a change of the clock in Berlin, New York or Lord Howe.
fn arb_edge() -> impl Strategy<Value = Timestamp> {
    const EDGES: [&str; 6] = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-10-03T15:30:00Z",
    ];
    (prop::sample::select(&EDGES[..]), -12_i64 * 3600..12 * 3600)
        .prop_map(|(edge, seconds)| at(edge) + SignedDuration::from_secs(seconds))
}

fn arb_window() -> impl Strategy<Value = (u8, i16, i16)> {
    (1u8..128, 0i16..1440, 1i16..=1440)
        .prop_map(|(days, a, b)| (days, a.min(b - 1), b.max(a + 1)))
        .prop_filter("in order", |(_, start, end)| start < end)
}

fn text_of((days, start, end): (u8, i16, i16), zone: &str) -> String {
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let days: Vec<_> = (0..7).filter(|n| days & (1 << n) != 0).map(|n| names[n]).collect();
    let time = |minute: i16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{} {}-{} {zone}", days.join(","), time(start), time(end))
}

proptest! {
    #[test]
    fn agrees_with_reading_the_wall_clock(
        window in arb_window(),
        zone in prop::sample::select(&ZONES[..]),
        moment in prop_oneof![arb_moment(), arb_edge()],
    ) {
        let text = text_of(window, zone);
        let (days, start, end) = window;
        let wall = moment.in_tz(zone).unwrap();
        let time = |minute: i16| {
            let (hour, minute) = (minute / 60, minute % 60);
            Time::new(hour.try_into().unwrap(), minute.try_into().unwrap(), 0, 0).unwrap()
        };
        let expected = days & (1 << wall.weekday().to_monday_zero_offset()) != 0
            && wall.time() >= time(start)
            && (end == 1440 || wall.time() < time(end));
        prop_assert_eq!(windows(&[&text]).contains(moment), expected, "{} {}", text, wall);
    }

    #[test]
    fn every_window_is_read_back(
        window in arb_window(), zone in prop::sample::select(&ZONES[..]),
    ) {
        let window: Window = text_of(window, zone).parse().unwrap();
        prop_assert_eq!(window.to_string().parse::<Window>(), Ok(window.clone()));
    }

    #[test]
    fn never_panics(
        text in "\\PC{0,40}|(Mon|Sun-Tue)?[ ,]?[0-9:\\-]{0,11} (UTC|Asia/Kathmandu|\\PC{0,9})",
        moment in (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second()),
    ) {
        let _ = text.parse::<Window>();
        let moment = Timestamp::from_second(moment).unwrap();
        for zone in ZONES {
            let windows = windows(&[&format!("Tue 00:00-00:01 {zone}")]);
            let _ = (windows.contains(moment), windows.next_opening(moment));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Changes of the clock and starts of windows fall on whole minutes, so looking at every
    /// minute finds the first.
    #[test]
    fn the_next_opening_is_the_first(
        window in arb_window(),
        zone in prop::sample::select(&ZONES[..]),
        moment in prop_oneof![arb_moment(), arb_edge()],
    ) {
        let windows = windows(&[&text_of(window, zone)]);
        let into_minute = moment.as_millisecond().rem_euclid(60_000);
        let next_minute = moment + SignedDuration::from_millis(60_000 - into_minute);
        let minutes = (0..8 * 24 * 60 - 1).map(|n| next_minute + SignedDuration::from_mins(n));
        let first = std::iter::once(moment).chain(minutes).find(|at| windows.contains(*at));
        prop_assert_eq!(windows.next_opening(moment), first);
    }
}
