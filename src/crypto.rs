//! Keys and sealing: AES-256-GCM under a versioned master key, HMAC derivation, fingerprints.
//!
//! A [`MasterKey`] never leaves this file except as a fingerprint; `Debug` prints none of it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac};

use crate::clock::Entropy;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a key must be 32 bytes, written as 64 hexadecimal digits")]
    Malformed,
    #[error("sealed with key version {0}, which this server does not have")]
    UnknownVersion(i32),
    #[error("the sealed value was not made for this place, or was changed")]
    Forged,
}

/// One version of the master key: 32 bytes.
#[derive(Clone)]
pub struct MasterKey {
    version: i32,
    bytes: [u8; 32],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey(v{})", self.version)
    }
}

/// A sealed value as it stands in a row.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub key_version: i32,
    pub nonce: [u8; 12],
    pub ciphertext: Vec<u8>,
}

impl MasterKey {
    pub fn from_hex(version: i32, hex: &str) -> Result<Self, Error> {
        Ok(Self {
            version,
            bytes: decode_hex(hex.trim())?.try_into().map_err(|_| Error::Malformed)?,
        })
    }

    pub fn generate(version: i32, entropy: &Entropy) -> (Self, String) {
        let bytes = entropy.bytes();
        (Self { version, bytes }, encode_hex(&bytes))
    }

    /// What may be written down about the key: enough to tell two apart, not enough to be one.
    pub fn fingerprint(&self) -> String {
        encode_hex(&hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.bytes), b"lumbung fingerprint").as_ref()[..16])
    }

    pub fn version(&self) -> i32 {
        self.version
    }

    /// A key for one purpose, by HKDF: two purposes never share key material.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        struct Len;
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                32
            }
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"lumbung").extract(&self.bytes);
        let mut out = [0; 32];
        prk.expand(&[purpose.as_bytes()], Len)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        out
    }

    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.derive("seal")).expect("the derived key is 32 bytes"))
    }
}

/// The master keys: the newest seals, all of them open.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<MasterKey>,
}

impl Keyring {
    /// `None` when there is no key, or one version twice.
    pub fn new(mut keys: Vec<MasterKey>) -> Option<Self> {
        keys.sort_by_key(MasterKey::version);
        let unique = keys.windows(2).all(|pair| pair[0].version != pair[1].version);
        (unique && !keys.is_empty()).then_some(Self { keys })
    }

    pub fn newest(&self) -> &MasterKey {
        self.keys.last().expect("a keyring is never empty")
    }

    pub fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    /// Seals `plain` for the place that `aad` names (say `instance/<id>/<key>`): elsewhere it does not open.
    pub fn seal(&self, entropy: &Entropy, aad: &str, plain: &[u8]) -> Sealed {
        let key = self.newest();
        let nonce: [u8; 12] = entropy.bytes();
        let mut ciphertext = plain.to_vec();
        key.aead()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad.as_bytes()),
                &mut ciphertext,
            )
            .expect("a plaintext of this size seals");
        Sealed {
            key_version: key.version,
            nonce,
            ciphertext,
        }
    }

    pub fn open(&self, aad: &str, sealed: &Sealed) -> Result<Vec<u8>, Error> {
        let key = self
            .keys
            .iter()
            .find(|key| key.version == sealed.key_version)
            .ok_or(Error::UnknownVersion(sealed.key_version))?;
        let mut bytes = sealed.ciphertext.clone();
        let plain = key
            .aead()
            .open_in_place(
                Nonce::assume_unique_for_key(sealed.nonce),
                Aad::from(aad.as_bytes()),
                &mut bytes,
            )
            .map_err(|_| Error::Forged)?;
        Ok(plain.to_vec())
    }
}

/// HMAC-SHA256, for tokens that must be derived again rather than stored.
pub fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 gives 32 bytes")
}

/// Compares in a time that does not depend on where the two differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

pub fn encode_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn decode_hex(hex: &str) -> Result<Vec<u8>, Error> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return Err(Error::Malformed);
    }
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).map_err(|_| Error::Malformed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_survives_a_new_key() {
        let entropy = Entropy::seeded(1);
        let (old, _) = MasterKey::generate(1, &entropy);
        let (new, hex) = MasterKey::generate(2, &entropy);
        let sealed = Keyring::new(vec![old.clone()])
            .unwrap()
            .seal(&entropy, "instance/a/password", b"hunter2");
        let ring = Keyring::new(vec![MasterKey::from_hex(2, &hex).unwrap(), old]).unwrap();
        assert_eq!(ring.open("instance/a/password", &sealed).unwrap(), b"hunter2");
        assert!(matches!(ring.open("instance/b/password", &sealed), Err(Error::Forged)));
        let only_new = Keyring::new(vec![new]).unwrap();
        assert!(matches!(
            only_new.open("instance/a/password", &sealed),
            Err(Error::UnknownVersion(1))
        ));
        assert_ne!(ring.seal(&entropy, "x", b"y").key_version, sealed.key_version);
    }

    #[test]
    fn a_malformed_key_is_refused() {
        for hex in ["", "00", "zz", &"0".repeat(63), &"é".repeat(32)] {
            assert!(MasterKey::from_hex(1, hex).is_err(), "{hex}");
        }
    }
}
