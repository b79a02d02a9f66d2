use std::collections::BTreeMap;

use super::{
    canonical::{canonical_query, s3_path, tidy_path},
    *,
};

const BLANK: UnsignedRequest<'static> = UnsignedRequest {
    method: "GET",
    host: "example.amazonaws.com",
    path: "/",
    query: Query::Raw(""),
    headers: &[],
    payload: Payload::Bytes(b""),
};

/// What the signer of AWS's published test suite adds to a request.
fn signed(request: UnsignedRequest<'_>, token: Option<&str>) -> BTreeMap<&'static str, String> {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
    let token = token.map(|token| Secret::new(token.to_owned()));
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: &secret,
        session_token: token.as_ref(),
        region: "us-east-1",
        service: "service",
    };
    let added = signer.sign(&request, "2015-08-30T12:36:00Z".parse().unwrap());
    added.into_iter().map(|(name, value)| (name, value.expose().clone())).collect()
}

#[test]
fn the_whole_header_is_as_published() {
    let added = signed(BLANK, None);
    assert_eq!(added.len(), 2);
    assert_eq!(added["x-amz-date"], "20150830T123600Z");
    let expected = "AWS4-HMAC-SHA256 \
        Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
        SignedHeaders=host;x-amz-date, \
        Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(added["authorization"], expected);
}

#[test]
fn the_published_vectors_are_met() {
    const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let vectors = [
        (
            "get-vanilla-query-order-key-case",
            UnsignedRequest {
                query: Query::Pairs(&[("Param2", "value2"), ("Param1", "value1")]),
                ..BLANK
            },
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-unreserved",
            UnsignedRequest { query: Query::Pairs(&[(UNRESERVED, UNRESERVED)]), ..BLANK },
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-utf8",
            UnsignedRequest { path: "/ሴ", ..BLANK },
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "get-space",
            UnsignedRequest { path: "/example space/", ..BLANK },
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "get-slashes",
            UnsignedRequest { path: "//example//", ..BLANK },
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-header-key-duplicate",
            UnsignedRequest {
                headers: &[
                    ("My-Header1", "value2"),
                    ("My-Header1", "value2"),
                    ("My-Header1", "value1"),
                ],
                ..BLANK
            },
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "get-header-value-trim",
            UnsignedRequest {
                headers: &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
                ..BLANK
            },
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "post-x-www-form-urlencoded",
            UnsignedRequest {
                method: "POST",
                headers: &[("Content-Type", "application/x-www-form-urlencoded")],
                payload: Payload::Bytes(b"Param1=value1"),
                ..BLANK
            },
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    for (name, request, signature) in vectors {
        let added = signed(request, None);
        let authorization = &added["authorization"];
        assert!(authorization.ends_with(signature), "{name}: {authorization}");
    }
}

#[test]
fn a_session_token_is_signed_and_sent() {
    // The suite's "post-sts-header-before".
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAe\
        MicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsb\
        urEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkU\
        L64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    let added = signed(UnsignedRequest { method: "POST", ..BLANK }, Some(token));
    assert_eq!(added["x-amz-security-token"], token);
    let authorization = &added["authorization"];
    assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
    let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
    assert!(authorization.ends_with(signature), "{authorization}");
}

#[test]
fn what_the_signer_answers_for_is_not_taken_from_the_request() {
    let headers = [("Host", "elsewhere"), ("X-Amz-Date", "19700101T000000Z")];
    let given = UnsignedRequest { headers: &headers, ..BLANK };
    assert_eq!(signed(given, None), signed(BLANK, None));
}

#[test]
fn paths_are_tidied_and_encoded() {
    for (path, canonical) in [
        ("", "/"),
        ("//", "/"),
        ("/./", "/"),
        ("/example/..", "/"),
        ("/./example", "/example"),
        ("/../../a/b/../c/", "/a/c/"),
        ("/a%20b", "/a%2520b"),
        ("/a:b", "/a%3Ab"),
    ] {
        assert_eq!(tidy_path(path), canonical, "{path}");
    }
}

#[test]
fn queries_are_encoded_before_they_are_sorted() {
    let query = [("a", "b c"), ("a", "/"), ("-", ""), ("é", "1")];
    assert_eq!(canonical_query(Query::Pairs(&query)), "%C3%A9=1&-=&a=%2F&a=b%20c");
}

#[test]
fn tokens_of_requests_are_the_same_for_the_same_attempt() {
    // FIPS 180-4's example.
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(request_token("abc"), digest);
}

/// A request to the bucket of S3's published examples.
const BUCKET: UnsignedRequest<'static> =
    UnsignedRequest { host: "examplebucket.s3.amazonaws.com", ..BLANK };
/// SHA-256 of what is put there.
const PUT_DIGEST: &str = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";

/// What the signer of S3's published examples adds to a request.
fn signed_for_s3(request: UnsignedRequest<'_>) -> BTreeMap<&'static str, String> {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
    let signer = Signer {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: &secret,
        session_token: None,
        region: "us-east-1",
        service: "s3",
    };
    let added = signer.sign(&request, "2013-05-24T00:00:00Z".parse().unwrap());
    added.into_iter().map(|(name, value)| (name, value.expose().clone())).collect()
}

#[test]
fn the_published_examples_of_s3_are_met() {
    let put = UnsignedRequest {
        method: "PUT",
        path: "/test$file.text",
        headers: &[
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        payload: Payload::Bytes(b"Welcome to Amazon S3."),
        ..BUCKET
    };
    let put_signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    let upper = PUT_DIGEST.to_ascii_uppercase();
    for (name, request, signature) in [
        (
            "GET Object",
            UnsignedRequest { path: "/test.txt", headers: &[("Range", "bytes=0-9")], ..BUCKET },
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        ("PUT Object", put, put_signature),
        (
            "PUT Object, with the path encoded and the digest only",
            UnsignedRequest { path: "/test%24file.text", payload: Payload::Sha256(&upper), ..put },
            put_signature,
        ),
        (
            "GET Bucket Lifecycle",
            UnsignedRequest { query: Query::Raw("lifecycle"), ..BUCKET },
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET Bucket (List Objects)",
            UnsignedRequest { query: Query::Raw("prefix=J&max-keys=2"), ..BUCKET },
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let added = signed_for_s3(request);
        let authorization = &added["authorization"];
        assert!(authorization.ends_with(signature), "{name}: {authorization}");
    }
}

#[test]
fn s3_is_told_what_stands_for_the_body() {
    for (payload, told) in [
        (Payload::Bytes(b"Welcome to Amazon S3."), PUT_DIGEST),
        (Payload::Sha256(PUT_DIGEST), PUT_DIGEST),
        (Payload::Unsigned, "UNSIGNED-PAYLOAD"),
        (Payload::UnsignedWithTrailer, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ] {
        // What a client told does not count.
        let headers = [("X-Amz-Content-Sha256", "0000")];
        let added = signed_for_s3(UnsignedRequest { payload, headers: &headers, ..BUCKET });
        assert_eq!(added["x-amz-content-sha256"], told);
        let names = "SignedHeaders=host;x-amz-content-sha256;x-amz-date,";
        assert!(added["authorization"].contains(names), "{added:?}");
    }
}

#[test]
fn other_services_are_told_only_if_need_be() {
    fn told(request: UnsignedRequest<'_>) -> Option<String> {
        signed(request, None).remove("x-amz-content-sha256")
    }
    assert_eq!(told(BLANK), None);
    let unsigned = UnsignedRequest { payload: Payload::Unsigned, ..BLANK };
    assert_eq!(told(unsigned).unwrap(), "UNSIGNED-PAYLOAD");
    let headers = [("X-Amz-Content-Sha256", "0000")];
    let corrected = told(UnsignedRequest { headers: &headers, ..BLANK }).unwrap();
    assert!(corrected.starts_with("e3b0c442"), "{corrected}");
}

#[test]
fn paths_of_s3_are_encoded_once_and_not_tidied() {
    for (path, canonical) in [
        ("", "/"),
        ("/", "/"),
        ("//a/./../b//", "//a/./../b//"),
        ("/a%20b", "/a%20b"),
        ("/a b", "/a%20b"),
        ("/day=1/a+b@2x.png", "/day%3D1/a%2Bb%402x.png"),
        ("/%7euser/%61%2fb", "/~user/a%2Fb"),
        ("/100%/%zz/%4", "/100%25/%25zz/%254"),
        ("/é", "/%C3%A9"),
    ] {
        assert_eq!(s3_path(path), canonical, "{path}");
    }
}

#[test]
fn queries_are_taken_as_they_are_sent() {
    for (raw, canonical) in [
        ("", ""),
        ("&&", ""),
        ("lifecycle", "lifecycle="),
        ("b=2&a=1&a=0", "a=0&a=1&b=2"),
        ("a=b+c%2Bd", "a=b%20c%2Bd"),
        ("a=b=c&=d", "=d&a=b%3Dc"),
        ("prefix=a/b%2fc", "prefix=a%2Fb%2Fc"),
        ("a=%7e%FF%&%zz", "%25zz=&a=~%FF%25"),
    ] {
        assert_eq!(canonical_query(Query::Raw(raw)), canonical, "{raw}");
    }
}

/// The example of <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>.
#[test]
fn pieces_of_a_body_are_signed_as_published() {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
    let signer = Signer {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: &secret,
        session_token: None,
        region: "us-east-1",
        service: "s3",
    };
    let body = vec![b'a'; 66_560];
    assert_eq!(chunked_length(66_560), 66_824);
    let request = UnsignedRequest {
        method: "PUT",
        host: "s3.amazonaws.com",
        path: "/examplebucket/chunkObject.txt",
        headers: &[
            ("content-encoding", "aws-chunked"),
            ("content-length", "66824"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        payload: Payload::Chunks,
        ..BLANK
    };
    let (added, mut chunks) = signer.sign_stream(&request, "2013-05-24T00:00:00Z".parse().unwrap());
    let authorization =
        added.iter().find(|(name, _)| *name == "authorization").unwrap().1.expose().clone();
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    assert!(authorization.ends_with(&format!("Signature={seed}")), "{authorization}");
    let mut sent = 0;
    for (data, signature) in [
        (&body[..CHUNK_BYTES], "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (&body[CHUNK_BYTES..], "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (&[], "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ] {
        let piece = chunks.chunk(data);
        let head = format!("{:x};chunk-signature={signature}\r\n", data.len());
        assert!(piece.starts_with(head.as_bytes()));
        assert!(piece.ends_with(b"\r\n"));
        sent += piece.len() as u64;
    }
    assert_eq!(sent, chunked_length(66_560));
    for length in [0, 1, 15, 16, 65_535, 65_536, 65_537, 200_000] {
        let body = vec![b'a'; length];
        let pieces = body.chunks(CHUNK_BYTES).chain([&[][..]]).map(|it| chunks.chunk(it).len());
        assert_eq!(pieces.sum::<usize>() as u64, chunked_length(length as u64), "{length}");
    }
}
