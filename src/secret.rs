//! What proves that a lock is one's own.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Random bytes of a secret that the library makes.
const BYTES: usize = 32;

/// The secret of a lock. Any process that has the secret can renew and release the lock.
///
/// A secret that the library makes has 32 random bytes from the operating system, as 64 hexadecimal characters. `Debug`
/// and `Display` never show a secret. Comparison takes the same time wherever two secrets differ. The memory is wiped
/// when the last clone is dropped, but not the copy that is sent to a server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// let secret = store.write_lock("report", std::time::Duration::from_secs(30)).await?;
/// assert_eq!(secret.expose().len(), 64);
/// assert_eq!(format!("{secret} {secret:?}"), "[redacted] Secret([redacted])");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// A new one.
    ///
    /// `None` if the operating system has no randomness to give, which no caller can mend.
    pub(crate) fn random() -> Option<Self> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        getrandom::fill(bytes.as_mut_slice()).ok()?;
        // Of its final size from the start: a string that grows leaves copies behind.
        let mut text = String::with_capacity(2 * BYTES);
        for byte in bytes.iter() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Some(Self(Arc::new(Zeroizing::new(text))))
    }

    /// A secret that the caller chose. `None` if it is empty or blank.
    pub(crate) fn given(text: &str) -> Option<Self> {
        (!text.trim().is_empty()).then(|| Self(Arc::new(Zeroizing::new(text.to_owned()))))
    }

    /// Returns the text of the secret. Pass it to the process that will release the lock.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Secret {
    fn as_ref(&self) -> &str {
        self.expose()
    }
}

/// Compares in a time that depends on the lengths only.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        if a.len() != b.len() {
            return false;
        }
        let difference = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
        // Keeps the compiler from ending the loop early.
        std::hint::black_box(difference) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sixty_four_hexadecimal_characters_and_never_the_same() {
        let (a, b) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_eq!(a.expose().len(), 64);
        assert!(a.expose().bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(a != b && a == a.clone());
        assert!(Secret::given(" \t").is_none());
        assert!(Secret::given("a").unwrap() != Secret::given("ab").unwrap());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::given("hunter2").unwrap();
        assert!(!format!("{secret:?} {secret} {secret:#?}").contains("hunter2"));
    }
}
