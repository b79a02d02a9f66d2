//! Answers of services that behave and of services that do not, on a connection made of memory.

mod over_tls;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// A connection and its other end.
fn pair() -> (Box<Line>, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    (Box::new(Line::new(near, HeaderValue::from_static("api.example"))), far)
}

fn get() -> Request<()> {
    Request::get("/v1/things?a=1").header("authorization", "Bearer made-up").body(()).unwrap()
}

/// What came of a call.
#[derive(Debug)]
struct Whole {
    body: Vec<u8>,
    trailers: usize,
    /// Whether another call may be made on the connection.
    is_kept: bool,
}

/// Makes a call that is answered with these bytes; then the other side closes the connection, or not.
async fn call(request: &Request<()>, answer: &[u8], closes: bool) -> Result<Whole, Fault> {
    let (line, mut far) = pair();
    let peer = async {
        take_head(&mut far).await;
        far.write_all(answer).await.unwrap();
        if closes {
            far.shutdown().await.unwrap();
        }
    };
    let (whole, ()) = tokio::join!(whole(line, request), peer);
    whole
}

async fn whole(line: Box<Line>, request: &Request<()>) -> Result<Whole, Fault> {
    let answered = line.send(request, Bytes::new()).await.map_err(|it| it.fault)?;
    read_whole(answered).await
}

/// Reads the head of a request, and gives it.
async fn take_head(far: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.unwrap());
    }
    head
}

async fn read_whole(answered: Response<Http1Body>) -> Result<Whole, Fault> {
    let mut body = answered.into_body();
    let (mut bytes, mut trailers) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap().len(),
        }
    }
    Ok(Whole { body: bytes, trailers, is_kept: body.take_line().is_some() })
}

/// A call that is answered with this text by somebody who keeps the connection open.
async fn answered(answer: &str) -> Result<Whole, Fault> {
    let patience = std::time::Duration::from_secs(2);
    let request = get();
    let call = tokio::time::timeout(patience, call(&request, answer.as_bytes(), false));
    call.await.expect("waited for more")
}

#[tokio::test]
async fn the_host_and_the_length_of_a_request_are_not_the_callers_to_say() {
    let (line, mut far) = pair();
    let mut request = Request::post("/v1/things");
    for (name, value) in [("host", "other"), ("content-length", "9"), ("x-api-key", "made-up")] {
        request = request.header(name, value);
    }
    let request = request.body(()).unwrap();
    let peer = async {
        let head = take_head(&mut far).await;
        far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let call = line.send(&request, Bytes::from_static(b"body"));
    let (answered, head) = tokio::join!(call, peer);
    let line = answered.ok().unwrap().into_body().take_line().unwrap();
    assert!(line.head.is_empty() && line.rest.is_empty());
    drop(line);
    let mut sent = String::from_utf8(head).unwrap();
    far.read_to_string(&mut sent).await.unwrap();
    let expected = "POST /v1/things HTTP/1.1\r\nhost: api.example\r\nx-api-key: made-up\r\n\
                    content-length: 4\r\n\r\nbody";
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn one_call_follows_the_other() {
    let (mut line, mut far) = pair();
    for number in 0..3 {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
        let peer = async {
            take_head(&mut far).await;
            far.write_all(answer.as_bytes()).await.unwrap();
        };
        let request = get();
        let (answered, ()) = tokio::join!(line.send(&request, Bytes::new()), peer);
        let mut body = answered.ok().unwrap().into_body();
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, number.to_string());
        assert!(body.is_end_stream());
        line = body.take_line().unwrap();
        assert!(line.is_good() && line.room.is_empty());
    }
    far.write_all(b"?").await.unwrap();
    assert!(!line.is_good(), "nobody asked for that");
}

#[tokio::test]
async fn a_service_that_has_gone_or_speaks_first_is_noticed_before_a_call() {
    let (mut line, far) = pair();
    assert!(line.is_good());
    drop(far);
    let (too_early, mut other) = pair();
    other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let unanswered = line.send(&get(), Bytes::new()).await.err().unwrap();
    assert!(unanswered.is_unsent && matches!(unanswered.fault, Fault::Closed));
    let unanswered = too_early.send(&get(), Bytes::new()).await.err().unwrap();
    assert!(unanswered.is_unsent && matches!(unanswered.fault, Fault::NotHttp(_)));
    let mut nothing = Vec::new();
    other.read_to_end(&mut nothing).await.unwrap();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn nobody_knows_how_much_has_gone_of_what_was_not_answered() {
    let (line, mut far) = pair();
    let peer = async {
        take_head(&mut far).await;
        drop(far);
    };
    let request = get();
    let (answered, ()) = tokio::join!(line.send(&request, Bytes::new()), peer);
    let unanswered = answered.err().unwrap();
    assert!(!unanswered.is_unsent && matches!(unanswered.fault, Fault::Closed));
}

#[tokio::test]
async fn a_length_that_is_said_more_than_once_is_passed_on_once() {
    let (line, mut far) = pair();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4, 4\r\ncontent-length: 4\r\n\r\nbody";
    let peer = async {
        take_head(&mut far).await;
        far.write_all(answer).await.unwrap();
    };
    let request = get();
    let (answered, ()) = tokio::join!(line.send(&request, Bytes::new()), peer);
    let answered = answered.ok().unwrap();
    let lengths: Vec<_> = answered.headers().get_all("content-length").iter().collect();
    assert_eq!(lengths, ["4"]);
}

#[tokio::test]
async fn bodies_end_where_they_say() {
    for (answer, body, trailers, is_kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", "body", 0, true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4, 4\r\ncontent-length: 4\r\n\r\nbody",
            "body",
            0,
            true,
        ),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", "", 0, true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", "", 0, true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n", "", 0, true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
            "body",
            0,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbod\r\n1;a=\"b\"\r\ny\r\n0\r\n\r\n",
            "body",
            0,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0004 \r\nbody\r\n00\r\nx-sum: 1\r\nx-b: 2\r\n\r\n",
            "body",
            2,
            true,
        ),
        // The service closes, or somebody may have read it otherwise.
        ("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n", "", 0, false),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", "", 0, false),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", "", 0, false),
        ("HTTP/1.1 200 OK\ncontent-length: 4\r\n\r\nbody", "body", 0, false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\nbody", "body", 0, false),
        (
            "HTTP/1.1 103 Early Hints\r\ncontent-length: 4\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
            "body",
            0,
            false,
        ),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody", "body", 0, false),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n", "", 0, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody", "body", 0, false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "body",
            0,
            false,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\n", "body", 0, false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1", "", 0, false),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nbody", "", 0, false),
    ] {
        let whole = answered(answer).await.unwrap_or_else(|fault| panic!("{fault}: {answer}"));
        let found = (str::from_utf8(&whole.body).unwrap(), whole.trailers, whole.is_kept);
        assert_eq!(found, (body, trailers, is_kept), "{answer}");
    }
}

#[tokio::test]
async fn a_head_alone_is_answered_with_a_head_alone() {
    let request = Request::head("/").body(()).unwrap();
    for framing in ["content-length: 4", "transfer-encoding: chunked", "x: y"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let whole = call(&request, answer.as_bytes(), false).await.unwrap();
        assert!(whole.body.is_empty() && whole.is_kept, "{framing}");
    }
}

#[tokio::test]
async fn what_has_no_length_ends_with_the_connection() {
    for framing in ["x: y", "transfer-encoding: gzip", "transfer-encoding: chunked, gzip"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\nbody");
        let whole = call(&get(), answer.as_bytes(), true).await.unwrap();
        assert_eq!((&whole.body[..], whole.is_kept), (&b"body"[..], false), "{framing}");
    }
}

#[tokio::test]
async fn what_breaks_off_is_not_taken_for_whole() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbod",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbo",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx: y\r\n",
    ] {
        let fault = call(&get(), answer.as_bytes(), true).await.unwrap_err();
        assert!(matches!(fault, Fault::Closed), "{fault}: {answer}");
    }
}

#[tokio::test]
async fn what_is_unclear_is_refused() {
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let with = |header: &str| format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\nbody");
    let long = "x".repeat(2 << 10);
    let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MOST_INTERIM + 1);
    for answer in [
        "SSH-2.0-OpenSSH_9.2".to_owned(),
        "HTTP/2 200\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        many,
        with("content-length: 4\r\ncontent-length: 5"),
        with("content-length: +4"),
        with("content-length: 4,"),
        with("content-length: 0x4"),
        with("content-length: 99999999999999999999"),
        with("content-length : 4"),
        with("a: b\r\n c: d"),
        with("bad name: x"),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        chunked("4\nbody\r\n0\r\n\r\n"),
        chunked("-4\r\nbody\r\n0\r\n\r\n"),
        chunked("0x4\r\nbody\r\n0\r\n\r\n"),
        chunked("4 4\r\nbody\r\n0\r\n\r\n"),
        chunked("\r\nbody"),
        chunked("4\r\nbody4\r\n0\r\n\r\n"),
        chunked("4\r\nbody\n0\r\n\r\n"),
        chunked("11111111111111111\r\nbody"),
        chunked(&format!("4;{long}\r\nbody\r\n")),
        chunked("4;\x01\r\nbody\r\n"),
        chunked("4\r\r\nbody\r\n0\r\n\r\n"),
        chunked("4\x0c\r\nbody\r\n0\r\n\r\n"),
        chunked("4\r;x\r\nbody\r\n0\r\n\r\n"),
        chunked("0\r\nbad name: x\r\n\r\n"),
        chunked("0\r\n\n"),
        chunked("0\r\nx: y\n\n"),
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ] {
        let fault = answered(&answer).await.map(|_| ()).unwrap_err();
        assert!(matches!(fault, Fault::NotHttp(_)), "{fault}: {answer}");
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let many = "a: b\r\n".repeat(101);
    let long = format!("a: {}\r\n", "b".repeat(1 << 10)).repeat(64);
    let endless = "a".repeat(65 << 10);
    for headers in [many, long, endless] {
        let fault = answered(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).await.unwrap_err();
        assert!(matches!(fault, Fault::HeadTooLarge), "{fault}");
    }
    let just = format!("a: {}\r\n", "b".repeat(1 << 10)).repeat(60);
    let whole = answered(&format!("HTTP/1.1 200 OK\r\n{just}content-length: 0\r\n\r\n")).await;
    assert!(whole.unwrap().is_kept);
    let many = "x: y\r\n".repeat(101);
    let long = format!("x: {}\r\n", "y".repeat(1 << 10)).repeat(8);
    for trailers in [many, long, "y".repeat(9 << 10)] {
        let answer =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
        assert!(matches!(answered(&answer).await, Err(Fault::NotHttp(_))));
    }
}

/// Every byte on its own, and all splits of a short answer in two.
#[tokio::test]
async fn it_does_not_matter_how_an_answer_is_cut_up() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n4\r\nbody\r\n\
                   3;e\r\nand\r\n0\r\nx-sum: 1\r\n\r\n";
    let mut cuts: Vec<Vec<&[u8]>> =
        (1..answer.len()).map(|at| vec![&answer[..at], &answer[at..]]).collect();
    cuts.push(answer.chunks(1).collect());
    for pieces in cuts {
        let (line, mut far) = pair();
        let peer = async {
            for piece in &pieces {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let request = get();
        let call = async {
            let answered = line.send(&request, Bytes::new()).await;
            read_whole(answered.ok().unwrap()).await.unwrap()
        };
        let (whole, ()) = tokio::join!(call, peer);
        assert_eq!((&whole.body[..], whole.trailers, whole.is_kept), (&b"bodyand"[..], 1, true));
    }
}

#[tokio::test]
async fn long_bodies_come_as_they_were_sent() {
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut chunks = Vec::new();
    for (number, chunk) in body.chunks(70_001).enumerate() {
        chunks.extend_from_slice(format!("{:x};n={number}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let length = format!("content-length: {}", body.len());
    for (framing, sent, is_kept) in [
        (&*length, &body, true),
        ("transfer-encoding: chunked", &chunks, true),
        ("x: until it closes", &body, false),
    ] {
        let (line, mut far) = pair();
        let peer = async {
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
            far.write_all(head.as_bytes()).await.unwrap();
            // More than is read at once, and less.
            let mut sizes = [9_999, 200_000, 30_000, 1].into_iter().cycle();
            let mut left = &sent[..];
            while !left.is_empty() {
                let (piece, rest) = left.split_at(sizes.next().unwrap().min(left.len()));
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
                left = rest;
            }
            far.shutdown().await.unwrap();
        };
        let request = get();
        let call = async {
            let answered = line.send(&request, Bytes::new()).await;
            read_whole(answered.ok().unwrap()).await.unwrap()
        };
        let (whole, ()) = tokio::join!(call, peer);
        assert!(whole.body == body && whole.is_kept == is_kept, "{framing}");
    }
}

#[tokio::test]
async fn an_answer_can_come_before_all_of_a_long_request_has_gone() {
    let (near, mut far) = duplex(1 << 10);
    let line = Box::new(Line::new(near, HeaderValue::from_static("api.example")));
    let request = Request::post("/").body(()).unwrap();
    let long = Bytes::from(vec![b'a'; 100_000]);
    let peer = async {
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
        let mut all = vec![0; 100_000];
        far.read_exact(&mut all).await.unwrap();
        far.write_all(b"k").await.unwrap();
        let mut rest = vec![0; 1_000];
        let count = far.read(&mut rest).await.unwrap();
        assert!(count < 100 && rest[..count].iter().all(|byte| *byte == b'a'));
        far
    };
    let call = async {
        let mut body = line.send(&request, long).await.ok().unwrap().into_body();
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        all
    };
    let (all, _far) = tokio::join!(call, peer);
    assert_eq!(all, b"ok");
}

#[tokio::test]
async fn a_service_that_takes_no_more_may_still_say_why() {
    let (near, far) = duplex(1 << 10);
    let (mut reader, mut writer) = tokio::io::split(far);
    let line = Box::new(Line::new(near, HeaderValue::from_static("api.example")));
    let request = Request::post("/").body(()).unwrap();
    let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
    let peer = async move {
        let mut some = [0; 100];
        reader.read_exact(&mut some).await.unwrap();
        writer.write_all(answer).await.unwrap();
        drop((reader, writer));
    };
    let call = line.send(&request, Bytes::from(vec![b'a'; 100_000]));
    let (answered, ()) = tokio::join!(call, peer);
    let answered = answered.ok().unwrap();
    assert_eq!(answered.status(), 413);
    assert!(answered.into_body().take_line().is_none());
}
