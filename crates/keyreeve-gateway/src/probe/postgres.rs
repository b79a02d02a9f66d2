//! PostgreSQL: signs in and leaves, over the protocol of version 3
//! (<https://www.postgresql.org/docs/current/protocol-flow.html>). Nothing is asked of the database.

use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{Encryption, Probed, SignIn};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{
        backend::{AuthenticationSaslBody, ErrorFields, Message},
        frontend,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Stream, Untold, probed};
use crate::upstream::Dialer;

/// The most bytes of an answer.
const MOST_BYTES: usize = 64 << 10;

/// Asks for TLS, before anything else is said.
pub(super) async fn upgrade(
    dialer: &Dialer,
    sign_in: &SignIn,
    mut stream: TcpStream,
) -> Result<Box<dyn Stream>, Untold> {
    if sign_in.encryption == Encryption::Plain {
        return Ok(Box::new(stream));
    }
    let mut asked = BytesMut::new();
    frontend::ssl_request(&mut asked);
    stream.write_all(&asked).await?;
    match (stream.read_u8().await?, sign_in.encryption) {
        (b'S', _) => Ok(Box::new(dialer.secure(&sign_in.host, stream).await?)),
        (b'N', Encryption::UpgradeOrPlain) => Ok(Box::new(stream)),
        (b'N', _) => Err(Untold::Said("the service speaks no TLS: see --allow-plaintext")),
        _ => Err(Untold::Said("the service does not speak PostgreSQL's protocol")),
    }
}

pub(super) async fn ask(
    mut stream: Box<dyn Stream>,
    sign_in: &SignIn,
    database: &str,
) -> Result<Probed, Untold> {
    // EXPOSE: the sign-in.
    let (user, password) = (sign_in.user.expose().as_str(), sign_in.proof.expose().as_str());
    let mut out = BytesMut::new();
    frontend::startup_message([("user", user), ("database", database)], &mut out)?;
    let mut read = BytesMut::new();
    let mut scram: Option<ScramSha256> = None;
    // Whether the service has looked at the password at all.
    let mut is_proven = false;
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
        match next(&mut *stream, &mut read).await? {
            Message::AuthenticationCleartextPassword => {
                is_proven = true;
                frontend::password_message(password.as_bytes(), &mut out)?;
            }
            Message::AuthenticationMd5Password(body) => {
                is_proven = true;
                let hash = md5_hash(user.as_bytes(), password.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), &mut out)?;
            }
            Message::AuthenticationSasl(body) => {
                if !offers_scram(&body)? {
                    return Err(Untold::Said(
                        "the service wants a way of signing in that is not known here",
                    ));
                }
                let begun = scram
                    .insert(ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut out)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let scram = scram.as_mut().ok_or(Untold::Said(NONSENSE))?;
                scram.update(body.data())?;
                frontend::sasl_response(scram.message(), &mut out)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                // The service must know the password, too.
                scram.as_mut().ok_or(Untold::Said(NONSENSE))?.finish(body.data())?;
                is_proven = true;
            }
            Message::ReadyForQuery(_) => {
                frontend::terminate(&mut out);
                // It knows by now; whether it hears the good-bye does not matter.
                let _ = stream.write_all(&out).await;
                if !is_proven {
                    let words = "the service lets this user in without looking at the password";
                    return Ok(probed(Liveliness::Unknown, words));
                }
                return Ok(probed(Liveliness::Live, "the service let us in"));
            }
            Message::ErrorResponse(body) => return Ok(refused(body.fields())),
            _ => {}
        }
    }
}

const NONSENSE: &str = "the service does not speak PostgreSQL's protocol";

fn offers_scram(body: &AuthenticationSaslBody) -> Result<bool, Untold> {
    Ok(body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256))?)
}

/// What a refusal means, by its code (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn refused(mut fields: ErrorFields<'_>) -> Probed {
    let mut code = Vec::new();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'C' {
            code = field.value_bytes().to_vec();
        }
    }
    match code.as_slice() {
        b"28P01" => probed(Liveliness::Dead, "the service refuses the user or the password"),
        // Also said where the address, or the lack of TLS, is what is refused.
        b"28000" => probed(Liveliness::Unknown, "the service does not let this user in from here"),
        // Looked at once the password was good.
        b"3D000" => probed(Liveliness::Limited, "the password is good; there is no such database"),
        b"42501" => probed(Liveliness::Limited, "the password is good; the user may not connect"),
        b"53300" => probed(Liveliness::Unknown, "the service has too many connections"),
        b"57P03" => probed(Liveliness::Unknown, "the service is starting or stopping"),
        _ => probed(Liveliness::Unknown, "the service answered something else than yes or no"),
    }
}

/// The next message.
async fn next(stream: &mut dyn Stream, read: &mut BytesMut) -> Result<Message, Untold> {
    loop {
        let announced = read.get(1..5).and_then(|it| it.try_into().ok()).map(u32::from_be_bytes);
        if announced.is_some_and(|size| size as usize > MOST_BYTES) {
            return Err(Untold::Said(NONSENSE));
        }
        if let Some(message) = Message::parse(read)? {
            return Ok(message);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
