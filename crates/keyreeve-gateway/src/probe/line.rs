//! Lines of text, as several protocols answer in.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line that is read.
const LONGEST: usize = 4096;

/// The next line without its end. It is read byte by byte: nothing is taken that belongs to TLS behind it.
pub(super) async fn read<S: AsyncRead + Unpin + ?Sized>(stream: &mut S) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let byte = stream.read_u8().await?;
        if byte == b'\n' {
            break;
        }
        if line.len() == LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        line.push(byte);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
