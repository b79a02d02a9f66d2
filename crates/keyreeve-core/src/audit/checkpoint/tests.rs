use proptest::prelude::*;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{note::MAX_NOTE_BYTES, *};
use crate::Secret;

const NAME: &str = "keyreeve.example/audit";
/// Private key of the first Ed25519 test in RFC 8032 section 7.1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const ROOT: &str = "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=";
/// The next three were computed with another Ed25519 implementation (Python cryptography)
/// from `NAME`, `SEED`, size 8 and `ROOT`, the root of the RFC 6962 reference tree.
const VKEY: &str = "keyreeve.example/audit+e16a4539+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
const NOTE: &str = "\
keyreeve.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
\u{2014} keyreeve.example/audit \
4WpFObolX0im5CQ3+Mbp33Bflux1MJOsvjIiLnjkfZ8A+cEytASqgZ4jWCGvkeFbtvcEm65SPUn0qwou7zX0Klom7gc=\n";
const EXTENDED_NOTE: &str = "\
keyreeve.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\nextension one\n\n\
\u{2014} keyreeve.example/audit \
4WpFORfzLALfnr44Mn8k3htPbNUXHoMZAV5WOyiosPJPvWT34YChLn/oKfVC94lL7rGr+CN1YL8MUbbksGXnc8mmfgo=\n";

/// Key and one published tree head of the Go checksum database.
const SUMDB_VKEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const SUMDB_NOTE: &str = "\
go.sum database tree\n6476701\nmb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=\n\n\
\u{2014} sum.golang.org \
Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=\n";

/// A well-formed signature line of a key nobody here knows: base64 of five zero bytes.
const STRANGER: &str = "\u{2014} witness.example/w1 AAAAAAA=\n";

fn signer(seed: &[u8; 32]) -> CheckpointSigner {
    CheckpointSigner::from_seed(NAME, seed).expect("name is valid")
}

fn root() -> Hash {
    Hash::from_base64(ROOT).expect("constant is canonical")
}

#[test]
fn signs_the_note_another_implementation_signs() {
    let signer = signer(&SEED);
    assert_eq!(signer.sign(8, root()), NOTE);
    assert_eq!(signer.verifier().to_string(), VKEY);
    assert_eq!(signer.verifier().key_id(), [0xe1, 0x6a, 0x45, 0x39]);
}

#[test]
fn verifies_and_reads_the_golden_note() {
    let verifier = CheckpointVerifier::parse(VKEY).expect("vkey is valid");
    let checkpoint = verifier.verify(NOTE).expect("note is signed");
    assert_eq!(Checkpoint::new(NAME, 8, root()), Ok(checkpoint.clone()));
    assert_eq!((checkpoint.origin(), checkpoint.size()), (NAME, 8));
    assert_eq!(checkpoint.root(), root());
    assert!(NOTE.starts_with(&checkpoint.note_text()));
    assert_eq!(Checkpoint::parse_note(NOTE), Ok(checkpoint));
}

#[test]
fn verifies_a_published_go_sumdb_tree_head() {
    let verifier = CheckpointVerifier::parse(SUMDB_VKEY).expect("vkey is valid");
    assert_eq!(verifier.to_string(), SUMDB_VKEY);
    let note = SignedNote::parse(SUMDB_NOTE).expect("note is well formed");
    assert_eq!(verifier.check_signatures(&note), Ok(()));
    // Its signature is good, but its origin has spaces, which Keyreeve's never have.
    assert_eq!(verifier.verify(SUMDB_NOTE), Err(CheckpointError::InvalidOrigin));
    let forged = SUMDB_NOTE.replace("6476701", "6476702");
    assert_eq!(verifier.verify(&forged), Err(CheckpointError::BadSignature));
}

#[test]
fn extension_lines_are_accepted_and_signed() {
    let verifier = signer(&SEED).verifier();
    assert_eq!(verifier.verify(EXTENDED_NOTE), verifier.verify(NOTE));
    assert!(verifier.verify(EXTENDED_NOTE).is_ok());
    let changed = EXTENDED_NOTE.replace("extension one", "extension two");
    assert_eq!(verifier.verify(&changed), Err(CheckpointError::BadSignature));
    let dropped = EXTENDED_NOTE.replace("extension one\n", "");
    assert_eq!(verifier.verify(&dropped), Err(CheckpointError::BadSignature));
    let empty = signer(&SEED).sign_text(&format!("{NAME}\n8\n{ROOT}\n\nx\n"));
    assert_eq!(verifier.verify(&empty), Err(CheckpointError::EmptyExtension));
}

#[test]
fn strangers_signatures_are_ignored() {
    let verifier = signer(&SEED).verifier();
    let (text, own) = NOTE.split_at(NOTE.find('\u{2014}').expect("there is a signature"));
    let both = format!("{text}{STRANGER}{own}{STRANGER}");
    assert!(verifier.verify(&both).is_ok());
    let only_stranger = format!("{text}{STRANGER}");
    assert_eq!(verifier.verify(&only_stranger), Err(CheckpointError::NotSigned));
    // Name without key id, and key id without name.
    for line in [format!("\u{2014} {NAME} AAAAAAA=\n"), own.replace(NAME, "other.example")] {
        let note = format!("{text}{line}");
        assert_eq!(verifier.verify(&note), Err(CheckpointError::NotSigned));
        assert!(verifier.verify(&format!("{note}{own}")).is_ok());
    }
    let most = format!("{text}{own}{}", STRANGER.repeat(15));
    assert!(verifier.verify(&most).is_ok());
    let too_many = format!("{most}{STRANGER}");
    assert_eq!(verifier.verify(&too_many), Err(CheckpointError::TooManySignatures));
}

#[test]
fn another_key_does_not_verify() {
    let own = signer(&SEED).verifier();
    let other = signer(&[7; 32]).verifier();
    assert_eq!(other.verify(NOTE), Err(CheckpointError::NotSigned));
    // A forged key id gets the signature looked at, and no further.
    let collision = CheckpointVerifier { key_id: own.key_id, ..other };
    assert_eq!(collision.verify(NOTE), Err(CheckpointError::BadSignature));
    // One good signature does not excuse a bad one of the same key.
    let (_, line) = NOTE.split_once("\n\n").expect("note has a blank line");
    let bad = line.replace("4WpFObol", "4WpFObom");
    let mixed = format!("{NOTE}{bad}");
    assert_eq!(own.verify(&mixed), Err(CheckpointError::BadSignature));
}

#[test]
fn key_does_not_vouch_for_another_origin() {
    let signer = signer(&SEED);
    let note = signer.sign_text(&format!("other.example/log\n8\n{ROOT}\n"));
    assert_eq!(signer.verifier().verify(&note), Err(CheckpointError::OriginMismatch));
}

#[test]
fn malformed_notes_are_named_precisely() {
    use CheckpointError as E;
    let text = format!("{NAME}\n8\n{ROOT}\n");
    let long = "x".repeat(MAX_NOTE_BYTES);
    let cases = [
        (String::new(), E::MissingSeparator),
        (text.clone(), E::MissingSeparator),
        (format!("{text}{STRANGER}"), E::MissingSeparator),
        (format!("{text}\n"), E::MissingSignatures),
        (format!("{text}\n{}", STRANGER.trim_end()), E::MissingFinalNewline),
        (format!("{text}\n{STRANGER}\n"), E::MissingSignatures),
        (format!("{text}\nnot a signature\n"), E::MalformedSignature),
        (format!("{text}\n- {NAME} AAAAAAA=\n"), E::MalformedSignature),
        (format!("{text}\n\u{2014} a+b AAAAAAA=\n"), E::MalformedSignature),
        (format!("{text}\n\u{2014}  AAAAAAA=\n"), E::MalformedSignature),
        (format!("{text}\n\u{2014} {NAME} AAAAAA==\n"), E::MalformedSignature),
        (format!("{text}\n\u{2014} {NAME} AAAAAAA\n"), E::MalformedSignature),
        (format!("{text}\n{STRANGER}\tx\n"), E::ControlCharacter),
        (format!("{}\n{STRANGER}", text.replace('\n', "\r\n")), E::ControlCharacter),
        (format!("{text}{long}\n\n{STRANGER}"), E::TooLong),
    ];
    for (note, expected) in cases {
        assert_eq!(Checkpoint::parse_note(&note), Err(expected), "{note:.200}");
    }
}

#[test]
fn malformed_texts_are_named_precisely() {
    use CheckpointError as E;
    let cases = [
        (String::new(), E::MissingSize),
        (NAME.to_owned(), E::MissingSize),
        (format!("{NAME}\n8"), E::MissingRoot),
        (format!("\n8\n{ROOT}"), E::InvalidOrigin),
        (format!("a b\n8\n{ROOT}"), E::InvalidOrigin),
        (format!("a+b\n8\n{ROOT}"), E::InvalidOrigin),
        (format!("a\u{7f}b\n8\n{ROOT}"), E::InvalidOrigin),
        (format!("{NAME}\n\n{ROOT}"), E::InvalidSize),
        (format!("{NAME}\n+8\n{ROOT}"), E::InvalidSize),
        (format!("{NAME}\n08\n{ROOT}"), E::InvalidSize),
        (format!("{NAME}\n 8\n{ROOT}"), E::InvalidSize),
        (format!("{NAME}\n18446744073709551616\n{ROOT}"), E::InvalidSize),
        (format!("{NAME}\n8\n{}", &ROOT[..43]), E::InvalidRoot),
        (format!("{NAME}\n8\nAAAA"), E::InvalidRoot),
        (format!("{NAME}\n8\n{ROOT}\n\nx"), E::EmptyExtension),
    ];
    for (body, expected) in cases {
        let note = format!("{body}\n\n{STRANGER}");
        assert_eq!(Checkpoint::parse_note(&note), Err(expected), "{body}");
    }
    let whole_range = format!("{NAME}\n18446744073709551615\n{ROOT}\n\n{STRANGER}");
    assert_eq!(Checkpoint::parse_note(&whole_range).map(|read| read.size()), Ok(u64::MAX));
}

#[test]
fn names_are_checked_everywhere() {
    let longest = "n".repeat(255);
    assert!(Checkpoint::new(longest.as_str(), 0, Hash::empty()).is_ok());
    let too_long = "n".repeat(256);
    for bad in ["", "a b", "a\u{a0}b", "a+b", "a\nb", "a\u{7f}", too_long.as_str()] {
        let checkpoint = Checkpoint::new(bad, 0, Hash::empty());
        assert_eq!(checkpoint, Err(CheckpointError::InvalidOrigin), "{bad:?}");
        let signer = CheckpointSigner::from_seed(bad, &SEED).map(|_| ());
        assert_eq!(signer, Err(CheckpointError::InvalidKeyName), "{bad:?}");
    }
}

#[test]
fn malformed_verifier_keys_are_refused() {
    use CheckpointError as E;
    let (_, key) = VKEY.split_once("+e16a4539+").expect("vkey has the key id");
    let cosigner = BASE64_STANDARD.encode([&[0x04_u8][..], &[1; 32]].concat());
    let cases = [
        (String::new(), E::MalformedVerifierKey),
        (format!("{NAME}+e16a4539"), E::MalformedVerifierKey),
        (format!("{NAME}+e16a4539+"), E::MalformedVerifierKey),
        (format!("{NAME}+e16a4539+{}", &key[..40]), E::MalformedVerifierKey),
        (format!("{NAME}+e16a4539+{key}\n"), E::MalformedVerifierKey),
        (format!("{NAME}+E16A4539+{key}"), E::MalformedVerifierKey),
        (format!("{NAME}+16a4539+{key}"), E::MalformedVerifierKey),
        (format!("{NAME}+e16a453a+{key}"), E::KeyIdMismatch),
        (format!("{NAME}x+e16a4539+{key}"), E::KeyIdMismatch),
        (format!("+e16a4539+{key}"), E::InvalidKeyName),
        (format!("{NAME}+e16a4539+{cosigner}"), E::UnsupportedKeyType),
    ];
    for (vkey, expected) in cases {
        assert_eq!(CheckpointVerifier::parse(&vkey), Err(expected), "{vkey}");
    }
}

#[test]
fn debug_of_the_signer_shows_only_public_parts() {
    let shown = format!("{:?}", signer(&SEED));
    assert_eq!(shown, format!("CheckpointSigner {{ verifier: {VKEY}, .. }}"));
}

/// Text made of the pieces notes are made of, so that some of it gets far into the parser.
fn note_like() -> impl Strategy<Value = String> {
    let known = vec!["\n", "\n\n", "0", "8", "+", NAME, ROOT, VKEY, SIGNATURE_PREFIX, STRANGER];
    let piece = prop_oneof![
        4 => prop::sample::select(known).prop_map(String::from),
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn signed_heads_verify(seed: [u8; 32], size: u64, root: [u8; 32]) {
        let (signer, root) = (signer(&seed), Hash::from_bytes(root));
        let note = signer.sign(size, root);
        prop_assert_eq!(signer.verifier().verify(&note), Checkpoint::new(NAME, size, root));
        prop_assert_eq!(note, signer.sign(size, root));
    }

    #[test]
    fn verifier_key_round_trip(name in "[a-z./]{1,40}", seed: [u8; 32]) {
        let signer = CheckpointSigner::from_seed(&name, &seed).expect("name is valid");
        let verifier = signer.verifier();
        prop_assert_eq!(CheckpointVerifier::parse(&verifier.to_string()), Ok(verifier));
    }

    #[test]
    fn any_altered_byte_is_rejected(at: prop::sample::Index, mask in 1_u8..=255) {
        let mut bytes = NOTE.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        // What is no longer UTF-8 cannot even be handed to the verifier.
        if let Ok(note) = String::from_utf8(bytes) {
            prop_assert!(signer(&SEED).verifier().verify(&note).is_err());
        }
    }

    #[test]
    fn any_cut_is_rejected(at in 0..NOTE.len()) {
        if let Some(cut) = NOTE.get(..at) {
            prop_assert!(signer(&SEED).verifier().verify(cut).is_err());
        }
    }

    #[test]
    fn parsers_never_panic(text in prop_oneof![any::<String>(), note_like()]) {
        if let Ok(checkpoint) = Checkpoint::parse_note(&text) {
            prop_assert!(text.starts_with(&checkpoint.note_text()));
        }
        prop_assert!(signer(&SEED).verifier().verify(&text).is_err());
        if let Ok(verifier) = CheckpointVerifier::parse(&text) {
            prop_assert_eq!(verifier.to_string(), text);
        }
    }
}

#[test]
fn private_keys_survive_the_journey() {
    let text = CheckpointSigner::to_private_key(NAME, &Secret::new(SEED)).unwrap();
    assert!(text.expose().starts_with("PRIVATE+KEY+keyreeve.example/audit+e16a4539+"));
    let read = CheckpointSigner::from_private_key(&text).unwrap();
    assert_eq!(read.verifier().to_string(), VKEY);
    for bad in ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+c", VKEY] {
        assert!(CheckpointSigner::from_private_key(&Secret::new(bad.to_owned())).is_err());
    }
    let swapped = Secret::new(text.expose().replace("e16a4539", "e16a4538"));
    let error = CheckpointSigner::from_private_key(&swapped).unwrap_err();
    assert_eq!(error, CheckpointError::KeyIdMismatch);
}
