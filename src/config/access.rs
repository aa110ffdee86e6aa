//! How servers are entered, where their URL does not say it: the setters of `RedisConfig` for that.

use std::future::Future;

use super::RedisConfig;
use super::credentials::{CredentialsSource, IntoCredentials};

impl RedisConfig {
    /// Sets the user on the servers. Default: the user of the URL, or the server's default user.
    ///
    /// A user needs a [`password`](Self::password), or [`credentials`](Self::credentials):
    /// [`Store::open`](crate::Store::open) refuses one without. The password of a user who needs none (`nopass`) is `""`.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        let username = username.into();
        self.options
            .change_access(|access| access.username = Some(username));
        self
    }

    /// Sets the password for the servers. Default: the password of the URL, or none.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        let password = password.into();
        self.options
            .change_access(|access| access.password = Some(password));
        self
    }

    /// Sets the number of the database on the servers. Default: the number of the URL, or 0.
    #[must_use]
    pub fn database(mut self, database: u32) -> Self {
        self.options.change_access(|access| access.db = database.into());
        self
    }

    /// Sets a callback that returns the user and the password, for tokens that rotate. It is called at each connect.
    ///
    /// The callback replaces the user and the password of the URL and of the setters. If a server closes a connection
    /// because its token has expired, the store connects again with a new token.
    ///
    /// The callback runs in a task of its own, within [`connect_timeout`](Self::connect_timeout). It returns
    /// [`Credentials`](crate::Credentials), a pair of a user and a password, or a `Result` of these. After an error or
    /// a panic, the store tries again as after any other failure. The error is not shown, because it may contain a
    /// secret: log it in the callback.
    ///
    /// ```
    /// use cachestore::{Credentials, RedisConfig};
    ///
    /// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
    /// let config = RedisConfig::new("rediss://cache.example:6379")?.credentials(|| async {
    ///     let token = fetch_token().await?;
    ///     Ok::<_, std::io::Error>(Credentials::new("app", token))
    /// });
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn credentials<F, R>(mut self, callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output: IntoCredentials> + Send + 'static,
    {
        self.options.credentials = Some(CredentialsSource::new(callback));
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Sets whether connections to the servers use TLS. Default: as in the URL, and `false` for
    /// [`sentinel`](Self::sentinel).
    /// [`Store::open`](crate::Store::open) refuses `true` for a `unix://` URL.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.options.change_access(|access| access.tls = tls);
        self
    }
}
