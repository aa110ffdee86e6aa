//! Asks a process for its metrics over HTTP.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST};
use hyper::http::uri::{Scheme, Uri};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Process;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much one answer may have.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The address at which a process tells its metrics.
#[derive(Debug)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

impl Endpoint {
    /// Reads a URL. Errors do not repeat it, because it may hold a password or a token.
    pub(crate) fn read(url: &str) -> Result<Self> {
        let uri: Uri = url
            .parse()
            .ok()
            .context("--metrics is no URL such as http://localhost:9000/metrics")?;
        ensure!(
            uri.scheme() == Some(&Scheme::HTTP),
            "the URL of --metrics must begin with http://: other schemes are not supported"
        );
        let authority = uri.authority().context("the URL of --metrics names no host")?;
        ensure!(
            !authority.as_str().contains('@'),
            "the URL of --metrics may not have a user: name an endpoint that needs none"
        );
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// What the process tells now.
    pub(crate) async fn ask(&self) -> Result<Process> {
        let told = async {
            let text = timeout(PATIENCE, self.fetch()).await;
            let text = text.map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()))??;
            Process::read(&text)
        };
        told.await
            .with_context(|| format!("cannot read the metrics at {self}"))
    }

    async fn fetch(&self) -> Result<String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let query = self
            .query
            .as_ref()
            .map_or_else(String::new, |query| format!("?{query}"));
        let request = Request::get(format!("{}{query}", self.path))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(ACCEPT, "text/plain")
            .body(Empty::<Bytes>::new())?;
        let exchange = async move {
            let response = requests.send_request(request).await?;
            let status = response.status();
            if !status.is_success() {
                bail!("the answer is {status}");
            }
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            String::from_utf8(body.into()).context("the answer is no text")
        };
        // The connection moves the bytes, and ends with the exchange.
        let (text, _) = tokio::join!(exchange, connection);
        text
    }
}

/// The URL without its query, which may hold a token.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_no_token() {
        let endpoint = Endpoint::read("http://[::1]:9000/metrics?token=hidden").unwrap();
        assert_eq!(endpoint.to_string(), "http://[::1]:9000/metrics");
        assert_eq!(
            Endpoint::read("http://localhost").unwrap().to_string(),
            "http://localhost:80/"
        );
    }

    #[test]
    fn an_error_repeats_nothing_of_the_url() {
        for url in [
            "http://user:hidden@host/metrics",
            "https://hidden/metrics",
            "hidden",
            "/hidden",
            "http://hid den/",
        ] {
            let error = format!("{:#}", Endpoint::read(url).unwrap_err());
            assert!(!error.contains("hid"), "{error}");
        }
    }
}
