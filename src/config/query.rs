//! What the URLs of all engines have in common: schemes, and parameters in the query.

use super::Parameters;

/// The schemes of URLs of one Redis server.
pub(super) const REDIS_SCHEMES: [&str; 3] = ["redis", "rediss", "unix"];
/// The schemes of URLs of Sentinels, each with that of the servers behind it.
pub(super) const SENTINEL_SCHEMES: [(&str, &str); 2] =
    [("redis-sentinel", "redis"), ("rediss-sentinel", "rediss")];

/// The schemes of URLs of clusters, each with that of the nodes.
pub(super) const CLUSTER_SCHEMES: [(&str, &str); 2] =
    [("redis-cluster", "redis"), ("rediss-cluster", "rediss")];

/// The parameters of a URL's query, decoded as forms are: `+` is a space, `%2B` a plus.
pub(super) fn parameters(query: &str) -> Parameters {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// A `%` that no two hexadecimal digits follow stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (*first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    // A digit of base 16 is under 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}
