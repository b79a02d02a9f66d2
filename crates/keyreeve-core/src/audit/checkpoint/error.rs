//! What can be wrong with a checkpoint, a note or a key.

/// Why a checkpoint, a note or a verifier key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The origin is empty, above 255 bytes, or has whitespace, a control character or `+`.
    #[error("origin must be 1 to 255 bytes without whitespace, control characters or '+'")]
    InvalidOrigin,
    /// The key name is empty, above 255 bytes, or has whitespace, a control character or `+`.
    #[error("key name must be 1 to 255 bytes without whitespace, control characters or '+'")]
    InvalidKeyName,
    /// The cryptographic library refused the signing seed.
    #[error("seed is not usable as an Ed25519 key")]
    InvalidSeed,
    /// The private key is not of the form `PRIVATE+KEY+name+keyid+base64`.
    #[error("private key is not of the form PRIVATE+KEY+name+keyid+base64")]
    MalformedPrivateKey,
    /// The verifier key is not of the form `name+keyid+base64`.
    #[error("verifier key is not of the form name+keyid+base64")]
    MalformedVerifierKey,
    /// The verifier key is for another signature type than Ed25519 (0x01).
    #[error("verifier key is not an Ed25519 key")]
    UnsupportedKeyType,
    /// The key id written in the verifier key is not that of its name and public key.
    #[error("verifier key has a key id that does not belong to it")]
    KeyIdMismatch,
    /// The note is above 64 KiB.
    #[error("note is longer than 64 KiB")]
    TooLong,
    /// The note has an ASCII control character other than newline.
    #[error("note has a control character")]
    ControlCharacter,
    /// No blank line separates the note's text from its signatures.
    #[error("note has no blank line between text and signatures")]
    MissingSeparator,
    /// Nothing follows the blank line.
    #[error("note has no signature lines")]
    MissingSignatures,
    /// The last line does not end with a newline: the note was probably cut short.
    #[error("note does not end with a newline")]
    MissingFinalNewline,
    /// The note has above 16 signature lines.
    #[error("note has more than 16 signatures")]
    TooManySignatures,
    /// A signature line is not an em dash, a key name and base64 of a key id and a signature.
    #[error("note has a malformed signature line")]
    MalformedSignature,
    /// The text has no second line.
    #[error("checkpoint has no tree size line")]
    MissingSize,
    /// The tree size is not a canonical decimal number below 2^64.
    #[error("checkpoint's tree size is not a canonical decimal number")]
    InvalidSize,
    /// The text has no third line.
    #[error("checkpoint has no root hash line")]
    MissingRoot,
    /// The root is not 32 bytes in canonical standard base64.
    #[error("checkpoint's root hash is not 32 bytes of padded base64")]
    InvalidRoot,
    /// An extension line (any line after the root) is empty.
    #[error("checkpoint has an empty extension line")]
    EmptyExtension,
    /// No signature names the verifier's key.
    #[error("note is not signed by the expected key")]
    NotSigned,
    /// A signature names the verifier's key but was not made by it over this text.
    #[error("signature does not verify")]
    BadSignature,
    /// The signature is good, but the checkpoint is of another log than the key is named after.
    #[error("checkpoint's origin is not the name of the key")]
    OriginMismatch,
}
