//! A small database of countries in MaxMind's format, for tests.
//!
//! Source of the format: MaxMind DB File Format Specification, version 2.0,
//! <https://maxmind.github.io/MaxMind-DB/>.

use std::{net::Ipv4Addr, path::Path};

/// What stands between the tree and the data.
const SEPARATOR: [u8; 16] = [0; 16];
/// What stands before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// A node of the search tree: what follows on a 0 and on a 1.
#[derive(Clone, Copy)]
struct Node([Record; 2]);

#[derive(Clone, Copy)]
enum Record {
    /// Nothing is known from here on.
    Nothing,
    /// The next bit decides at this node.
    Node(usize),
    /// The data begins so many bytes into its section.
    Data(usize),
}

/// Writes a file that knows the countries of these IPv4 networks.
pub(crate) fn write(path: &Path, networks: &[(Ipv4Addr, u32, &str)]) {
    let mut nodes = vec![Node([Record::Nothing; 2])];
    let mut data = Vec::new();
    for (address, length, country) in networks {
        let begin = data.len();
        map(&mut data, 1);
        string(&mut data, "country");
        map(&mut data, 1);
        string(&mut data, "iso_code");
        string(&mut data, country);
        let bit = |n: u32| ((address.to_bits() >> (31 - n)) & 1) as usize;
        let mut at = 0;
        for n in 0..length - 1 {
            at = if let Record::Node(next) = nodes[at].0[bit(n)] {
                next
            } else {
                nodes.push(Node([Record::Nothing; 2]));
                let next = nodes.len() - 1;
                nodes[at].0[bit(n)] = Record::Node(next);
                next
            };
        }
        nodes[at].0[bit(length - 1)] = Record::Data(begin);
    }
    std::fs::write(path, file(&nodes, &data)).unwrap();
}

fn file(nodes: &[Node], data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for record in nodes.iter().flat_map(|node| node.0) {
        let value = match record {
            Record::Nothing => nodes.len(),
            Record::Node(next) => next,
            Record::Data(begin) => nodes.len() + SEPARATOR.len() + begin,
        };
        file.extend_from_slice(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
    }
    file.extend_from_slice(&SEPARATOR);
    file.extend_from_slice(data);
    file.extend_from_slice(MARKER);
    let count = u32::try_from(nodes.len()).unwrap();
    map(&mut file, 9);
    for (name, value) in [
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
        ("ip_version", 4),
        ("record_size", 24),
    ] {
        string(&mut file, name);
        // Type 5, an unsigned 16-bit number of two bytes.
        file.push(5 << 5 | 2);
        file.extend_from_slice(&u16::to_be_bytes(value));
    }
    string(&mut file, "node_count");
    // Type 6, an unsigned 32-bit number of four bytes.
    file.push(6 << 5 | 4);
    file.extend_from_slice(&count.to_be_bytes());
    string(&mut file, "build_epoch");
    // An extended type, written as 7 less: 9, an unsigned 64-bit number of eight bytes.
    file.extend_from_slice(&[8, 2]);
    file.extend_from_slice(&1_767_225_600_u64.to_be_bytes());
    string(&mut file, "database_type");
    string(&mut file, "Keyreeve-Test-Country");
    string(&mut file, "languages");
    // 11, an array, of nothing.
    file.extend_from_slice(&[0, 4]);
    string(&mut file, "description");
    map(&mut file, 0);
    file
}

/// Type 7: so many pairs follow.
fn map(bytes: &mut Vec<u8>, pairs: u8) {
    bytes.push(7 << 5 | pairs);
}

/// Type 2: UTF-8 of at most 28 bytes here.
fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(2 << 5 | u8::try_from(text.len()).unwrap());
    assert!(text.len() <= 28, "longer ones have their length elsewhere");
    bytes.extend_from_slice(text.as_bytes());
}
