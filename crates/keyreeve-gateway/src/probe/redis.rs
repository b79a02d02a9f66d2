//! Redis and Valkey: AUTH, then PING, in RESP
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{Probed, SignIn};
use tokio::io::AsyncWriteExt as _;
use zeroize::Zeroizing;

use super::{Stream, Untold, line, probed};

/// Nobody's password.
const NO_PASSWORD: &str = "keyreeve-asks-whether-any-password-is-taken";

pub(super) async fn ask(mut stream: Box<dyn Stream>, sign_in: &SignIn) -> Result<Probed, Untold> {
    // EXPOSE: the sign-in.
    let (user, password) = (sign_in.user.expose().as_str(), sign_in.proof.expose().as_str());
    let command = match user {
        "" => command(&["AUTH", password]),
        user => command(&["AUTH", user, password]),
    };
    stream.write_all(&command).await?;
    stream.flush().await?;
    let said = line::read(&mut *stream).await?;
    if said != "+OK" {
        let refused = ["-WRONGPASS", "-ERR invalid password", "-NOAUTH"];
        return Ok(match said.as_str() {
            said if refused.iter().any(|it| said.starts_with(it)) => {
                probed(Liveliness::Dead, "the service refuses the password")
            }
            said if said.contains("without any password") => {
                probed(Liveliness::Unknown, "the service lets everybody in: it has no password")
            }
            _ => probed(Liveliness::Unknown, "the service answered something else than yes or no"),
        });
    }
    if !user.is_empty() {
        // A user without a password is let in with any.
        stream.write_all(&self::command(&["AUTH", user, NO_PASSWORD])).await?;
        stream.flush().await?;
        if line::read(&mut *stream).await? == "+OK" {
            let words = "the service lets this user in with any password";
            return Ok(probed(Liveliness::Unknown, words));
        }
    }
    stream.write_all(&self::command(&["PING"])).await?;
    stream.flush().await?;
    let said = line::read(&mut *stream).await?;
    Ok(match said.as_str() {
        "+PONG" => probed(Liveliness::Live, "the service let us in"),
        said if said.starts_with("-NOPERM") => {
            probed(Liveliness::Limited, "the service let us in; the user may not PING")
        }
        _ => probed(Liveliness::Limited, "the service let us in, but did not answer PING"),
    })
}

/// A command as an array of texts.
fn command(words: &[&str]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(format!("*{}\r\n", words.len()));
    for word in words {
        text.push_str(&format!("${}\r\n", word.len()));
        text.push_str(word);
        text.push_str("\r\n");
    }
    Zeroizing::new(text.as_bytes().to_vec())
}
