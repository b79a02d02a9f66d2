//! Answers of services, over HTTP/1.1, as whoever holds the service sends them. Where one ends decides
//! what the next call on the connection gets.
#![no_main]

use keyreeve_gateway::fuzzing::http1_answer;
use libfuzzer_sys::fuzz_target;

/// What is hard to guess.
const BEGINNINGS: [&[u8]; 6] = [
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: ",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n",
];

fuzz_target!(|bytes: &[u8]| {
    let Some(([how, cut], rest)) = bytes.split_first_chunk() else { return };
    let method = if how & 1 == 0 { "GET" } else { "HEAD" };
    let begun = BEGINNINGS[usize::from(how >> 1) % BEGINNINGS.len()];
    let answer = &[begun, rest].concat()[..];
    let (whole, left_of_whole) = http1_answer(method, &[answer]);

    // A connection is used again only if nothing behind the answer was read, and all of the answer was.
    if let Some(whole) = whole.as_ref().filter(|whole| whole.is_kept) {
        let taken = &answer[..answer.len() - left_of_whole];
        let (again, left) = http1_answer(method, &[taken]);
        assert_eq!((again.as_ref(), left), (Some(whole), 0));
        let (shorter, _) = http1_answer(method, &[&taken[..taken.len() - 1]]);
        assert!(shorter.is_none_or(|it| !it.is_kept));
    }

    // How it is cut up makes no difference, but for what nobody has seen when the answer ends.
    let size = usize::from(*cut).max(1);
    let pieces: Vec<&[u8]> = answer.chunks(size).collect();
    let (cut_up, left) = http1_answer(method, &pieces);
    match (whole, cut_up) {
        (None, None) => {}
        (Some(whole), Some(mut cut_up)) => {
            assert!(whole.is_kept == cut_up.is_kept || left > 0 || left_of_whole > 0);
            cut_up.is_kept = whole.is_kept;
            assert_eq!(whole, cut_up);
        }
        (whole, cut_up) => panic!("{whole:?} in one piece and {cut_up:?} in several"),
    }
});
