//! SMTP: EHLO, STARTTLS (RFC 3207), AUTH (RFC 4954), QUIT. No message is sent.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{Encryption, Probed, SignIn};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use zeroize::Zeroizing;

use super::{Stream, Untold, encrypted, line, probed};
use crate::upstream::Dialer;

/// The most lines of one answer.
const MOST_LINES: usize = 100;

/// An answer: its code, and the text of its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// Whether the service offers something, and with which words behind it.
    fn offers(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            word.eq_ignore_ascii_case(name).then_some(rest)
        })
    }
}

pub(super) async fn ask(
    dialer: &Dialer,
    sign_in: &SignIn,
    stream: TcpStream,
) -> Result<Probed, Untold> {
    if sign_in.encryption == Encryption::Tls {
        let mut stream = encrypted(dialer, sign_in, stream).await?;
        greeted(&mut *stream).await?;
        let offered = say(&mut *stream, b"EHLO keyreeve\r\n").await?;
        return authenticate(&mut *stream, sign_in, &offered).await;
    }
    let mut stream = stream;
    greeted(&mut stream).await?;
    let offered = say(&mut stream, b"EHLO keyreeve\r\n").await?;
    if offered.offers("STARTTLS").is_none() {
        if sign_in.encryption == Encryption::UpgradeOrPlain {
            return authenticate(&mut stream, sign_in, &offered).await;
        }
        return Err(Untold::Said("the service offers no TLS: see --allow-plaintext"));
    }
    if say(&mut stream, b"STARTTLS\r\n").await?.code != 220 {
        return Err(Untold::Said("the service offers TLS and then does not speak it"));
    }
    // What it offered before could come from anybody (RFC 3207 §4.2).
    let mut stream = dialer.secure(&sign_in.host, stream).await?;
    let offered = say(&mut stream, b"EHLO keyreeve\r\n").await?;
    authenticate(&mut stream, sign_in, &offered).await
}

async fn greeted<S: Stream + ?Sized>(stream: &mut S) -> Result<(), Untold> {
    if reply(stream).await?.code == 220 {
        return Ok(());
    }
    Err(Untold::Said("the service takes no mail now"))
}

async fn authenticate<S: Stream + ?Sized>(
    stream: &mut S,
    sign_in: &SignIn,
    offered: &Reply,
) -> Result<Probed, Untold> {
    let ways = offered.offers("AUTH").unwrap_or_default().to_ascii_uppercase();
    let offers = |way: &str| ways.split(' ').any(|it| it == way);
    // EXPOSE: the sign-in.
    let (user, password) = (sign_in.user.expose().as_str(), sign_in.proof.expose().as_str());
    let said = if offers("PLAIN") {
        let text = Zeroizing::new(format!("\0{user}\0{password}"));
        let line = format!("AUTH PLAIN {}\r\n", BASE64_STANDARD.encode(text.as_bytes()));
        say(stream, Zeroizing::new(line).as_bytes()).await?
    } else if offers("LOGIN") {
        let mut said = say(stream, b"AUTH LOGIN\r\n").await?;
        for word in [user, password] {
            if said.code == 334 {
                let line = Zeroizing::new(format!("{}\r\n", BASE64_STANDARD.encode(word)));
                said = say(stream, line.as_bytes()).await?;
            }
        }
        said
    } else {
        return Err(Untold::Said("the service offers no sign-in with a password"));
    };
    let probed = match said.code {
        235 => probed(Liveliness::Live, "the service let us in"),
        535 => probed(Liveliness::Dead, "the service refuses the user or the password"),
        534 | 538 => probed(Liveliness::Unknown, "the service wants another way of signing in"),
        _ => probed(Liveliness::Unknown, "the service answered something else than yes or no"),
    };
    // It knows by now; whether it says good-bye does not matter.
    let _ = stream.write_all(b"QUIT\r\n").await;
    Ok(probed)
}

async fn say<S: Stream + ?Sized>(stream: &mut S, line: &[u8]) -> Result<Reply, Untold> {
    stream.write_all(line).await?;
    stream.flush().await?;
    reply(stream).await
}

/// An answer of one line or several (RFC 5321 §4.2.1).
async fn reply<S: Stream + ?Sized>(stream: &mut S) -> Result<Reply, Untold> {
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let line = line::read(stream).await?;
        let code = line.get(..3).and_then(|code| code.parse().ok());
        let Some(code) = code else { return Err(Untold::Said("the service speaks no SMTP")) };
        lines.push(line.get(4..).unwrap_or_default().to_owned());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(Reply { code, lines });
        }
    }
    Err(Untold::Said("the service speaks no SMTP"))
}
