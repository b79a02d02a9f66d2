//! What an issuer answers (RFC 6749 §5).

use std::time::Duration;

use http::StatusCode;
use keyreeve_core::Secret;
use serde_json::Value;

/// The most bytes of a token. More fits into no header that services take.
const MOST_TOKEN_BYTES: usize = 16 << 10;
/// How long a token lives if the issuer does not say, in seconds.
const USUAL_LIFE_S: u64 = 300;
/// How long a token lives at most, in seconds: a year. Nobody relies on more.
const LONGEST_LIFE_S: u64 = 365 * 86_400;
/// The longest name of an error that is logged.
const LONGEST_CODE: usize = 64;
/// The errors that are the credential's and not the request's (RFC 6749 §5.2).
const REFUSALS: [&str; 3] = ["invalid_client", "invalid_grant", "unauthorized_client"];

/// A token as the issuer gave it.
pub(super) struct Given {
    pub(super) token: Secret<String>,
    /// Counted from when it was asked for.
    pub(super) life: Duration,
}

/// An answer without a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoToken {
    /// Whether it is the credential that the issuer does not take.
    pub(super) is_refusal: bool,
    /// The issuer's name for what is wrong, if it is a plain one. Nothing else of an answer is repeated.
    pub(super) code: Option<String>,
}

/// Reads an answer.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Given, NoToken> {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status == StatusCode::OK {
        return given(&mut answer).ok_or(NoToken { is_refusal: false, code: None });
    }
    let code = answer.get("error").and_then(Value::as_str).filter(|code| is_plain(code));
    let is_refusal =
        status == StatusCode::UNAUTHORIZED || code.is_some_and(|code| REFUSALS.contains(&code));
    Err(NoToken { is_refusal, code: code.map(str::to_owned) })
}

/// The token of a good answer, if it can stand in a header.
fn given(answer: &mut Value) -> Option<Given> {
    // What another type of token needs besides is not known here (RFC 6749 §7.1).
    if !answer.get("token_type")?.as_str()?.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let life = life(answer.get("expires_in"));
    let Value::String(token) = answer.get_mut("access_token")?.take() else { return None };
    let token = Secret::new(token);
    // EXPOSE: looked at for its characters.
    let text = token.expose();
    let fits = (1..=MOST_TOKEN_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(Given { token, life })
}

/// How long a token lives. Some issuers write the seconds as text, or with a fraction.
fn life(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let whole = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).map(|it| it.as_secs());
    Duration::from_secs(whole.unwrap_or(USUAL_LIFE_S).clamp(1, LONGEST_LIFE_S))
}

fn is_plain(code: &str) -> bool {
    (1..=LONGEST_CODE).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(answer: &Value) -> Option<(String, u64)> {
        let given = read(StatusCode::OK, answer.to_string().as_bytes()).ok()?;
        Some((given.token.expose().clone(), given.life.as_secs()))
    }

    #[test]
    fn a_bearer_token_is_taken() {
        for (expires_in, life) in [
            (json!(3_599), 3_599),
            (json!("3599"), 3_599),
            (json!(59.9), 59),
            (json!(0), 1),
            (json!(1e300), 300),
            (json!(1e12), LONGEST_LIFE_S),
            (json!("soon"), 300),
            (json!(-5), 300),
            (Value::Null, 300),
        ] {
            let mut answer = json!({ "access_token": "ya29.a-b_c~+/=", "token_type": "bEaReR" });
            answer["expires_in"] = expires_in;
            assert_eq!(good(&answer), Some(("ya29.a-b_c~+/=".to_owned(), life)), "{answer}");
        }
        let without = json!({ "access_token": "t", "token_type": "Bearer", "scope": "x" });
        assert_eq!(good(&without), Some(("t".to_owned(), 300)));
    }

    #[test]
    fn whatever_else_is_no_token() {
        for answer in [
            json!({ "access_token": "t" }),
            json!({ "access_token": "t", "token_type": "mac" }),
            json!({ "access_token": "t", "token_type": 1 }),
            json!({ "token_type": "Bearer" }),
            json!({ "access_token": 1, "token_type": "Bearer" }),
            json!({ "access_token": "", "token_type": "Bearer" }),
            json!({ "access_token": "a b", "token_type": "Bearer" }),
            json!({ "access_token": "a\r\nb", "token_type": "Bearer" }),
            json!({ "access_token": "é", "token_type": "Bearer" }),
            json!({ "access_token": "t".repeat(MOST_TOKEN_BYTES + 1), "token_type": "Bearer" }),
            json!([]),
            json!("t"),
        ] {
            assert_eq!(good(&answer), None, "{answer}");
        }
        let nothing = read(StatusCode::OK, b"<html>").err();
        assert_eq!(nothing, Some(NoToken { is_refusal: false, code: None }));
    }

    #[test]
    fn of_an_error_nothing_is_kept_but_a_plain_code() {
        let told = |status: u16, body: &str| {
            let no_token = read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).err();
            no_token.map(|it| (it.is_refusal, it.code))
        };
        let code = |text: &str| Some(text.to_owned());
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_scope"}"#, (false, code("invalid_scope"))),
            (400, r#"{"error":"invalid_grant"}"#, (true, code("invalid_grant"))),
            (401, r#"{"error":"invalid_client"}"#, (true, code("invalid_client"))),
            (401, "", (true, None)),
            (400, r#"{"error":"no such secret: hunter2"}"#, (false, None)),
            (400, r#"{"error":{"status":"invalid_grant"}}"#, (false, None)),
            (302, "", (false, None)),
            (500, r#"{"access_token":"t","token_type":"Bearer"}"#, (false, None)),
        ] {
            assert_eq!(told(status, body), Some(expected), "{status} {body}");
        }
        let long = json!({ "error": "a".repeat(LONGEST_CODE + 1) }).to_string();
        assert_eq!(told(400, &long), Some((false, None)));
    }
}
