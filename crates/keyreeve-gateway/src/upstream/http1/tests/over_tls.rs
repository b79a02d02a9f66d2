//! The same below TLS, where an end that nobody announced may be somebody else's work.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;

type Near = client::TlsStream<DuplexStream>;
type Far = server::TlsStream<DuplexStream>;

/// Both ends of a connection, with a certificate made for it.
async fn streams() -> (Near, Far) {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["api.example".to_owned()]).unwrap();
    let certificate = made.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone());
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider);
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate], key).unwrap();
    let (near, far) = duplex(1 << 20);
    let name = ServerName::try_from("api.example").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    (near.unwrap(), far.unwrap())
}

async fn pair() -> (Box<Line>, Far) {
    let (near, far) = streams().await;
    (Box::new(Line::new(near, HeaderValue::from_static("api.example"))), far)
}

/// What becomes of an answer behind which the connection ends, with a goodbye or without.
async fn cut_off(answer: &str, says_goodbye: bool) -> Result<Whole, Fault> {
    let (line, mut far) = pair().await;
    let peer = async {
        take_head(&mut far).await;
        far.write_all(answer.as_bytes()).await.unwrap();
        far.flush().await.unwrap();
        if says_goodbye {
            far.shutdown().await.unwrap();
        }
        drop(far);
    };
    let request = get();
    let (whole, ()) = tokio::join!(whole(line, &request), peer);
    whole
}

#[tokio::test]
async fn what_was_cut_off_is_not_taken_for_whole() {
    let until_it_closes = "HTTP/1.1 200 OK\r\n\r\nbody";
    assert_eq!(cut_off(until_it_closes, true).await.unwrap().body, b"body");
    let fault = cut_off(until_it_closes, false).await.unwrap_err();
    assert!(matches!(fault, Fault::Io(_)), "{fault}");
    for says_goodbye in [true, false] {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
            "HTTP/1.1 200 OK\r\ncontent-le",
            "",
        ] {
            assert!(cut_off(answer, says_goodbye).await.is_err(), "{answer}");
        }
        // Where it ends is said, so it does not matter how the connection does.
        let whole = cut_off("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", says_goodbye).await;
        assert_eq!(whole.unwrap().body, b"body");
    }
}

#[tokio::test]
async fn long_messages_go_both_ways() {
    let (mut line, mut far) = pair().await;
    let long: Vec<u8> = (0..60_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = Request::post("/").body(()).unwrap();
    for _ in 0..2 {
        let peer = async {
            take_head(&mut far).await;
            let mut body = vec![0; long.len()];
            far.read_exact(&mut body).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            far.write_all(head.as_bytes()).await.unwrap();
            far.write_all(&body).await.unwrap();
            far.flush().await.unwrap();
        };
        let call = async {
            let answered = line.send(&request, Bytes::from(long.clone())).await.ok().unwrap();
            let mut body = answered.into_body();
            let mut all = Vec::new();
            while let Some(frame) = body.frame().await {
                all.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert!(all == long);
            body.take_line().unwrap()
        };
        (line, ()) = tokio::join!(call, peer);
        assert!(line.is_good());
    }
    // A goodbye is noticed before the next call.
    far.shutdown().await.unwrap();
    assert!(!line.is_good());
}
