//! The Merkle tree over audit entries: roots, proofs and their verification.
//!
//! The shape is that of RFC 6962 section 2.1, so proofs can be checked by any Certificate
//! Transparency tool. The writer keeps only a [`Frontier`] (a handful of hashes); proofs are
//! computed from the leaf hashes when somebody asks for one.

use super::hash::Hash;

/// Bytes of one peak in the stored form of a [`Frontier`].
const HASH_BYTES: usize = 32;
/// Largest size [`Frontier::from_bytes`] takes: far above any real log, and low enough that
/// pushing onto a frontier read from a corrupt disk cannot overflow the counter.
const MAX_STORED_SIZE: u64 = u64::MAX >> 1;

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the tree size, or the two sizes cannot be compared: the older one
    /// is zero or above the newer one.
    #[error("index or tree size is out of range")]
    OutOfRange,
    /// The proof has more or fewer hashes than a proof at this place must have.
    #[error("proof has the wrong number of hashes")]
    WrongLength,
    /// The hashes do not lead to the expected root.
    #[error("proof does not lead to the expected root")]
    RootMismatch,
}

/// The right edge of a growing tree: all that is needed to append and to know the root.
///
/// Holds the roots of the perfect subtrees that the binary form of `size` names, largest (and
/// so leftmost) first: one per one-bit. It takes at most 64 hashes, whatever the log's length.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves pushed so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf hash (see [`Hash::leaf`]); amortised constant time.
    pub fn push(&mut self, leaf: Hash) {
        // Adding one to `size` carries through its trailing one-bits, and each carry joins two
        // perfect subtrees of equal height, exactly as in binary addition.
        let mut merged = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                merged = Hash::node(&left, &merged);
            }
        }
        self.peaks.push(merged);
        self.size += 1;
    }

    /// Merkle tree hash of everything pushed (RFC 6962 section 2.1); [`Hash::empty`] at size 0.
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| Hash::node(&left, &right))
            .unwrap_or_else(Hash::empty)
    }

    /// Stored form: `size` as 8 big-endian bytes, then the peaks of 32 bytes, largest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Reads the form [`Self::to_bytes`] writes.
    ///
    /// `None` when the length is not that of `size.count_ones()` peaks, or when the size is 2^63
    /// or more, which no log reaches.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (peaks, []) = rest.as_chunks::<HASH_BYTES>() else { return None };
        if size > MAX_STORED_SIZE || peaks.len() != size.count_ones() as usize {
            return None;
        }
        Some(Self { size, peaks: peaks.iter().copied().map(Hash::from_bytes).collect() })
    }
}

/// Merkle tree hash of `leaves` (RFC 6962 section 2.1); [`Hash::empty`] for none.
///
/// Recomputes the whole tree; a writer that appends should keep a [`Frontier`] instead.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = halves(leaves);
            Hash::node(&root(left), &root(right))
        }
    }
}

/// Audit path of the leaf at zero-based `index` among `leaves`, from the leaf upwards
/// (RFC 6962 section 2.1.1).
///
/// `None` when there is no such leaf. The path of the only leaf of a tree is empty.
pub fn inclusion_proof(leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    let mut position = usize::try_from(index).ok().filter(|at| *at < leaves.len())?;
    let mut subtree = leaves;
    let mut path = Vec::new();
    while subtree.len() > 1 {
        let (left, right) = halves(subtree);
        if position < left.len() {
            path.push(root(right));
            subtree = left;
        } else {
            path.push(root(left));
            position -= left.len();
            subtree = right;
        }
    }
    // The walk went down from the root; a proof is read upwards.
    path.reverse();
    Some(path)
}

/// Proof that the first `old_size` of `leaves` were the whole tree once
/// (RFC 6962 section 2.1.2).
///
/// `None` when `old_size` is 0 or above the number of leaves. Empty when both sizes are equal.
pub fn consistency_proof(leaves: &[Hash], old_size: u64) -> Option<Vec<Hash>> {
    let in_range = 1..=leaves.len();
    let mut old = usize::try_from(old_size).ok().filter(|old| in_range.contains(old))?;
    let mut subtree = leaves;
    // Whether the part of the old tree still in view starts at its first leaf: then, once it is
    // a whole subtree, its root is the old root, which the verifier has already.
    let mut verifier_knows = true;
    let mut path = Vec::new();
    while old < subtree.len() {
        let (left, right) = halves(subtree);
        if old <= left.len() {
            path.push(root(right));
            subtree = left;
        } else {
            path.push(root(left));
            old -= left.len();
            subtree = right;
            verifier_knows = false;
        }
    }
    if !verifier_knows {
        path.push(root(subtree));
    }
    path.reverse();
    Some(path)
}

/// Checks that `leaf` is at zero-based `index` in the tree of `size` leaves with this `root`
/// (RFC 9162 section 2.1.3.2).
///
/// Both `root` and `size` must come from a source the caller trusts, such as a verified
/// checkpoint: the proof says nothing about them.
///
/// # Errors
/// [`ProofError::OutOfRange`] when `index >= size`, otherwise what is wrong with the proof.
pub fn verify_inclusion(
    root: &Hash,
    size: u64,
    index: u64,
    leaf: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut computed = *leaf;
    for sibling in proof {
        computed = match climb.step()? {
            Side::Left => Hash::node(sibling, &computed),
            Side::Right => Hash::node(&computed, sibling),
        };
    }
    climb.finish()?;
    same_root(&computed, root)
}

/// Checks that the tree of `new_size` leaves with `new_root` only appended to the tree of
/// `old_size` leaves with `old_root` (RFC 9162 section 2.1.4.2).
///
/// For equal sizes the proof must be empty and the roots equal. An `old_size` of 0 is refused:
/// every tree extends the empty one, so there is nothing a proof could show.
///
/// # Errors
/// [`ProofError::OutOfRange`] when `old_size` is 0 or above `new_size`, otherwise what is wrong
/// with the proof.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size == 0 || old_size > new_size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == new_size {
        return if proof.is_empty() {
            same_root(old_root, new_root)
        } else {
            Err(ProofError::WrongLength)
        };
    }
    // An old tree of 2^k leaves is itself a node of the new one, so its proof omits that node.
    let (seed, siblings) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::WrongLength)?
    };
    let height = (old_size - 1).trailing_ones();
    let mut climb = Climb { node: (old_size - 1) >> height, last: (new_size - 1) >> height };
    let (mut old, mut new) = (*seed, *seed);
    for sibling in siblings {
        match climb.step()? {
            Side::Left => {
                old = Hash::node(sibling, &old);
                new = Hash::node(sibling, &new);
            }
            // What lies to the right was appended later: the old tree has no part in it.
            Side::Right => new = Hash::node(&new, sibling),
        }
    }
    climb.finish()?;
    same_root(&old, old_root)?;
    same_root(&new, new_root)
}

/// Which side of the node reached so far the next hash of a proof is on.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root, one level at a time: the node's position on its level and
/// that of the level's last node (`fn` and `sn` in RFC 9162 sections 2.1.3.2 and 2.1.4.2).
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// Goes up past the next sibling and says which side it is on.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::WrongLength);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of a level may have no sibling there; it moves up unchanged until it
            // is a right child. For a right child already, this shifts by nothing.
            let lone_levels = self.node.trailing_zeros();
            self.node >>= lone_levels;
            self.last >>= lone_levels;
            Side::Left
        } else {
            Side::Right
        };
        self.node >>= 1;
        self.last >>= 1;
        Ok(side)
    }

    /// Checks that the root was reached, so that no hash is missing from the proof.
    fn finish(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::WrongLength) }
    }
}

/// Splits two or more leaves at the largest power of two below their number
/// (RFC 6962 section 2.1).
fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn same_root(computed: &Hash, expected: &Hash) -> Result<(), ProofError> {
    if computed == expected { Ok(()) } else { Err(ProofError::RootMismatch) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries and roots (of the first 1 to 8 of them) of the reference tree that Certificate
    /// Transparency implementations test against.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn reference_leaves() -> Vec<Hash> {
        ENTRIES.iter().map(|entry| Hash::leaf(entry)).collect()
    }

    /// Leaves that all differ, so that a proof fits one index only.
    fn distinct_leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|at| Hash::leaf(&at.to_be_bytes())).collect()
    }

    fn frontier_of(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::default();
        for leaf in leaves {
            frontier.push(*leaf);
        }
        frontier
    }

    fn hex(hashes: &[Hash]) -> Vec<String> {
        hashes.iter().map(Hash::to_string).collect()
    }

    fn altered(hash: &Hash) -> Hash {
        let mut bytes = *hash.as_bytes();
        bytes[31] ^= 1;
        Hash::from_bytes(bytes)
    }

    #[test]
    fn roots_match_the_reference_tree() {
        let leaves = reference_leaves();
        assert_eq!(root(&[]), Hash::empty());
        assert_eq!(Frontier::default().root(), Hash::empty());
        for (size, expected) in (1_usize..).zip(ROOTS) {
            assert_eq!(root(&leaves[..size]).to_string(), expected);
            assert_eq!(frontier_of(&leaves[..size]).root().to_string(), expected);
        }
    }

    #[test]
    fn inclusion_proof_matches_the_reference_tree() {
        let proof = inclusion_proof(&reference_leaves(), 5).expect("there are 8 leaves");
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(hex(&proof), expected);
    }

    #[test]
    fn consistency_proofs_match_the_reference_tree() {
        let leaves = reference_leaves();
        let from_six = consistency_proof(&leaves, 6).expect("6 is in range");
        let expected = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(hex(&from_six), expected);
        let from_two = consistency_proof(&leaves[..5], 2).expect("2 is in range");
        let expected = [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ];
        assert_eq!(hex(&from_two), expected);
    }

    #[test]
    fn proofs_outside_the_tree_do_not_exist() {
        let leaves = reference_leaves();
        assert_eq!(inclusion_proof(&leaves, 8), None);
        assert_eq!(inclusion_proof(&[], 0), None);
        assert_eq!(inclusion_proof(&leaves, u64::MAX), None);
        assert_eq!(consistency_proof(&leaves, 0), None);
        assert_eq!(consistency_proof(&leaves, 9), None);
        assert_eq!(consistency_proof(&leaves, 8), Some(vec![]));
    }

    #[test]
    fn verifiers_name_what_is_wrong() {
        let leaves = reference_leaves();
        let (old, new) = (root(&leaves[..3]), root(&leaves));
        let path = inclusion_proof(&leaves, 2).expect("there are 8 leaves");
        let inclusion =
            |index: u64, proof: &[Hash]| verify_inclusion(&new, 8, index, &leaves[2], proof);
        assert_eq!(inclusion(2, &path), Ok(()));
        assert_eq!(inclusion(8, &path), Err(ProofError::OutOfRange));
        assert_eq!(inclusion(2, &path[..2]), Err(ProofError::WrongLength));
        assert_eq!(inclusion(3, &path), Err(ProofError::RootMismatch));

        let links = consistency_proof(&leaves, 3).expect("3 is in range");
        let consistency =
            |size: u64, proof: &[Hash]| verify_consistency(size, &old, 8, &new, proof);
        assert_eq!(consistency(3, &links), Ok(()));
        assert_eq!(consistency(0, &links), Err(ProofError::OutOfRange));
        assert_eq!(consistency(9, &links), Err(ProofError::OutOfRange));
        assert_eq!(consistency(3, &[]), Err(ProofError::WrongLength));
        assert_eq!(consistency(8, &links), Err(ProofError::WrongLength));
        assert_eq!(consistency(8, &[]), Err(ProofError::RootMismatch));
    }

    #[test]
    fn verifiers_take_the_largest_sizes() {
        let hash = Hash::of(b"any");
        let last = u64::MAX - 1;
        assert!(verify_inclusion(&hash, u64::MAX, last, &hash, &[hash; 80]).is_err());
        assert!(verify_inclusion(&hash, u64::MAX, 0, &hash, &[hash; 64]).is_err());
        for old in [1, 1_u64 << 63, (1_u64 << 63) + 1, last] {
            assert!(verify_consistency(old, &hash, u64::MAX, &hash, &[hash; 80]).is_err());
        }
    }

    #[test]
    fn stored_frontier_must_have_one_peak_per_bit() {
        let good = frontier_of(&distinct_leaves(6)).to_bytes();
        assert_eq!(good.len(), 8 + 2 * 32);
        assert!(Frontier::from_bytes(&good).is_some());
        let longer = [good.as_slice(), &[0; 32]].concat();
        let other_size = [&7_u64.to_be_bytes()[..], &good[8..]].concat();
        let huge = [&[0xFF_u8; 8][..], &[0; 64 * 32]].concat();
        for bad in [&good[..0], &good[..7], &good[..71], &good[..40], &longer, &other_size, &huge] {
            assert_eq!(Frontier::from_bytes(bad), None);
        }
    }

    proptest! {
        #[test]
        fn frontier_root_is_the_recursive_root(
            bytes in prop::collection::vec(any::<[u8; 32]>(), 0..80),
        ) {
            let leaves: Vec<Hash> = bytes.into_iter().map(Hash::from_bytes).collect();
            let frontier = frontier_of(&leaves);
            prop_assert_eq!(frontier.size(), leaves.len() as u64);
            prop_assert_eq!(frontier.root(), root(&leaves));
            prop_assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Some(frontier));
        }

        #[test]
        fn from_bytes_reads_only_what_to_bytes_writes(
            size in 0_u64..16,
            peaks in prop::collection::vec(any::<[u8; 32]>(), 0..5),
        ) {
            let bytes = [&size.to_be_bytes()[..], peaks.as_flattened()].concat();
            let read = Frontier::from_bytes(&bytes);
            prop_assert_eq!(read.is_some(), peaks.len() == size.count_ones() as usize);
            if let Some(frontier) = read {
                prop_assert_eq!(frontier.to_bytes(), bytes);
            }
        }

        #[test]
        fn appending_keeps_older_roots(size in 1_u64..120) {
            let leaves = distinct_leaves(size);
            let mut frontier = Frontier::default();
            let mut roots = vec![frontier.root()];
            for leaf in &leaves {
                frontier.push(*leaf);
                roots.push(frontier.root());
            }
            for (prefix, seen) in roots.iter().enumerate() {
                prop_assert_eq!(&root(&leaves[..prefix]), seen);
            }
        }

        #[test]
        fn inclusion_proofs_fit_one_leaf_and_place(
            (size, index) in (1_u64..70).prop_flat_map(|size| (Just(size), 0..size)),
        ) {
            let leaves = distinct_leaves(size);
            let top = root(&leaves);
            let leaf = leaves[usize::try_from(index).expect("index is small")];
            let proof = inclusion_proof(&leaves, index).expect("index is below size");
            let check = |at: u64, leaf: &Hash, proof: &[Hash]| {
                verify_inclusion(&top, size, at, leaf, proof)
            };
            prop_assert_eq!(check(index, &leaf, &proof), Ok(()));
            let mismatch = Err(ProofError::RootMismatch);
            prop_assert_eq!(check(index, &altered(&leaf), &proof), mismatch);
            for at in (0..size + 2).filter(|at| *at != index) {
                prop_assert!(check(at, &leaf, &proof).is_err());
            }
            for at in 0..proof.len() {
                let mut forged = proof.clone();
                forged[at] = altered(&forged[at]);
                prop_assert_eq!(check(index, &leaf, &forged), mismatch);
            }
            let longer = [proof.as_slice(), &[top]].concat();
            prop_assert_eq!(check(index, &leaf, &longer), Err(ProofError::WrongLength));
        }

        #[test]
        fn consistency_proofs_fit_one_pair_of_roots(
            (new_size, old_size) in (1_u64..70).prop_flat_map(|new| (Just(new), 1..=new)),
        ) {
            let leaves = distinct_leaves(new_size);
            let (old, new) = (frontier_of(&distinct_leaves(old_size)).root(), root(&leaves));
            let proof = consistency_proof(&leaves, old_size).expect("old size is in range");
            let check = |old: &Hash, new: &Hash, proof: &[Hash]| {
                verify_consistency(old_size, old, new_size, new, proof)
            };
            prop_assert_eq!(check(&old, &new, &proof), Ok(()));
            let mismatch = Err(ProofError::RootMismatch);
            prop_assert_eq!(check(&altered(&old), &new, &proof), mismatch);
            prop_assert_eq!(check(&old, &altered(&new), &proof), mismatch);
            for at in 0..proof.len() {
                let mut forged = proof.clone();
                forged[at] = altered(&forged[at]);
                prop_assert_eq!(check(&old, &new, &forged), mismatch);
            }
            let longer = [proof.as_slice(), &[new]].concat();
            prop_assert_eq!(check(&old, &new, &longer), Err(ProofError::WrongLength));
        }
    }
}
