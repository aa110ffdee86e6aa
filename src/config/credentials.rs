//! The user and the password that a server is shown, and who is asked for them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use self::sealed::Sealed;

/// A user and a password for a server: what the callback of
/// [`RedisConfig::credentials`](crate::RedisConfig::credentials) returns.
///
/// `Debug` shows neither.
///
/// ```
/// use cachestore::Credentials;
///
/// let credentials = Credentials::new("app", "token-1");
/// assert!(!format!("{credentials:?}").contains("token-1"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: String,
}

impl Credentials {
    /// Returns credentials of a user and its password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: Some(username.into()),
            password: password.into(),
        }
    }

    /// Returns credentials of the default user.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: password.into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

mod sealed {
    pub trait Sealed {}
}

/// What a callback for credentials may return: [`Credentials`], a pair of a user and a password, or a [`Result`] of one
/// of these.
///
/// It is sealed: other crates cannot implement it.
pub trait IntoCredentials: Sealed {
    /// The credentials. `None` if there are none: the connection is then tried again later.
    #[doc(hidden)]
    fn into_credentials(self) -> Option<Credentials>;
}

impl Sealed for Credentials {}

impl IntoCredentials for Credentials {
    fn into_credentials(self) -> Option<Credentials> {
        Some(self)
    }
}

impl<U: Into<String>, P: Into<String>> Sealed for (U, P) {}

impl<U: Into<String>, P: Into<String>> IntoCredentials for (U, P) {
    fn into_credentials(self) -> Option<Credentials> {
        Some(Credentials::new(self.0, self.1))
    }
}

impl<C: IntoCredentials, E> Sealed for Result<C, E> {}

impl<C: IntoCredentials, E> IntoCredentials for Result<C, E> {
    fn into_credentials(self) -> Option<Credentials> {
        self.ok().and_then(C::into_credentials)
    }
}

type Answer = Pin<Box<dyn Future<Output = Option<Credentials>> + Send>>;

/// The application's callback for credentials.
#[derive(Clone)]
pub(crate) struct CredentialsSource(Arc<dyn Fn() -> Answer + Send + Sync>);

impl CredentialsSource {
    pub(super) fn new<F, R>(callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output: IntoCredentials> + Send + 'static,
    {
        Self(Arc::new(move || {
            let answer = callback();
            Box::pin(async move { answer.await.into_credentials() })
        }))
    }

    /// Runs the application's code, which may panic.
    pub(crate) async fn ask(&self) -> Option<Credentials> {
        (self.0)().await
    }
}

impl PartialEq for CredentialsSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsSource")
    }
}
