//! Assertions of service accounts: signed claims that a token is given for (RFC 7523 §2.1).

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use keyreeve_core::Secret;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// How long an assertion is good, in seconds. Google takes at most an hour.
const LIFE_S: i64 = 3_600;

/// A service account, by the file that Google gives out for it
/// (<https://developers.google.com/identity/protocols/oauth2/service-account>).
pub(super) struct ServiceAccount {
    email: String,
    key: Key,
    key_id: Option<String>,
    /// Where its file says that tokens are given out.
    pub(super) token_uri: Option<String>,
}

/// What signs.
enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl ServiceAccount {
    /// Reads the file; `None` if it has no address or no key that can be used.
    pub(super) fn parse(file: &Secret<String>) -> Option<Self> {
        // EXPOSE: taken apart.
        let mut file: Value = serde_json::from_str(file.expose()).ok()?;
        let mut take = |name: &str| match file.get_mut(name)?.take() {
            Value::String(text) => Some(text),
            _ => None,
        };
        let pem = Zeroizing::new(take("private_key")?);
        Some(Self {
            email: take("client_email")?,
            key: Key::from_pem(&pem)?,
            key_id: take("private_key_id"),
            token_uri: take("token_uri"),
        })
    }

    /// An assertion for the issuer at `audience`, in the form of a JWT (RFC 7515 §7.1); `None` if it
    /// cannot be signed.
    pub(super) fn assertion(
        &self,
        audience: &str,
        scope: &str,
        at: Timestamp,
    ) -> Option<Secret<String>> {
        let mut header = json!({ "alg": self.key.algorithm(), "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        let now = at.as_second();
        let mut claims =
            json!({ "iss": self.email, "aud": audience, "iat": now, "exp": now + LIFE_S });
        if !scope.is_empty() {
            claims["scope"] = json!(scope);
        }
        let [header, claims] =
            [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = Zeroizing::new(format!("{header}.{claims}"));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes())?);
        Some(Secret::new([signed.as_str(), ".", &signature].concat()))
    }
}

impl Key {
    fn from_pem(pem: &str) -> Option<Self> {
        let der = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?);
        match &*der {
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => {
                RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(Self::Rsa)
            }
            PrivateKeyDer::Sec1(key) => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::from_private_key_der(algorithm, key.secret_sec1_der());
                key.ok().map(Self::P256)
            }
            _ => None,
        }
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Some(Self::Rsa(key));
        }
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Some(Self::P256(key));
        }
        Ed25519KeyPair::from_pkcs8(der).ok().map(Self::Ed25519)
    }

    /// As headers name it (RFC 7518 §3.1, RFC 8037 §3.1).
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        // Asked for and not used: the library draws by itself.
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Self::P256(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Ed25519(key) => Some(key.try_sign(message).ok()?.as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
            UnparsedPublicKey, VerificationAlgorithm,
        },
    };
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    const AUDIENCE: &str = "https://id.example.com/token";

    fn pem(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let lines = lines.join("\n");
        format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
    }

    fn file(key: &str) -> Secret<String> {
        let file = json!({
            "type": "service_account",
            "client_email": "app@project.iam.example.com",
            "private_key": key,
            "private_key_id": "key-1",
            "token_uri": AUDIENCE,
        });
        Secret::new(file.to_string())
    }

    /// Header and claims of an assertion that this key signs, once its signature has been verified.
    fn signed(
        der: &[u8],
        algorithm: &'static dyn VerificationAlgorithm,
        public_key: &[u8],
    ) -> [Value; 2] {
        let account = ServiceAccount::parse(&file(&pem(der))).unwrap();
        assert_eq!(account.token_uri.as_deref(), Some(AUDIENCE));
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let assertion = account.assertion(AUDIENCE, "read write", at).unwrap();
        let (message, signature) = assertion.expose().rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(algorithm, public_key);
        key.verify(message.as_bytes(), &signature).unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        [header, claims].map(|part| {
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        })
    }

    #[test]
    fn rsa_signs() {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'static> = key.as_der().unwrap();
        let public = key.public_key().as_ref();
        let [header, claims] = signed(der.as_ref(), &RSA_PKCS1_2048_8192_SHA256, public);
        assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
        let expected = json!({
            "iss": "app@project.iam.example.com",
            "aud": AUDIENCE,
            "scope": "read write",
            "iat": 1_700_000_000,
            "exp": 1_700_003_600,
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn p256_signs() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = key.to_pkcs8v1().unwrap();
        let public = key.public_key().as_ref();
        let [header, _] = signed(der.as_ref(), &ECDSA_P256_SHA256_FIXED, public);
        assert_eq!(header["alg"], "ES256");
    }

    #[test]
    fn ed25519_signs() {
        let key = Ed25519KeyPair::generate().unwrap();
        let der = key.to_pkcs8().unwrap();
        let [header, _] = signed(der.as_ref(), &ED25519, key.public_key().as_ref());
        assert_eq!(header["alg"], "EdDSA");
    }

    #[test]
    fn what_is_missing_is_not_made_up() {
        let der = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let key = pem(der.as_ref());
        let email = "app@project.iam.example.com";
        let parse = |file: &Value| ServiceAccount::parse(&Secret::new(file.to_string()));
        let at = Timestamp::from_second(0).unwrap();
        let account = parse(&json!({ "client_email": email, "private_key": key })).unwrap();
        assert_eq!(account.token_uri, None);
        let assertion = account.assertion(AUDIENCE, "", at).unwrap();
        let claims = assertion.expose().split('.').nth(1).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        assert!(!String::from_utf8(claims).unwrap().contains("scope"));
        for bad in [
            json!({ "private_key": key }),
            json!({ "client_email": email }),
            json!({ "client_email": email, "private_key": "no PEM" }),
            json!({ "client_email": email, "private_key": pem(b"no DER") }),
            json!({ "client_email": 1, "private_key": key }),
            json!([]),
        ] {
            assert!(parse(&bad).is_none());
        }
        assert!(ServiceAccount::parse(&Secret::new("no JSON".to_owned())).is_none());
    }
}
