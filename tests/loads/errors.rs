//! What a failed load is told, whatever type the loader's error has.

use std::error::Error as _;
use std::fmt;

use cachestore::{Error, LoadError, Origin, Store};

use crate::support::memory;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

async fn fails_with<E: Send + Sync + 'static>(store: &Store, error: E) -> LoadError<E> {
    let load = store.get_or_load("k", || async { Err::<u32, E>(error) }).await;
    load.err().unwrap()
}

/// The question mark takes a load's error out of each of these functions.
#[tokio::test(start_paused = true)]
async fn a_load_error_is_an_error_for_anyhow_and_for_boxes() {
    async fn by_anyhow(store: &Store) -> anyhow::Result<u32> {
        let load = store.get_or_load("k", || async { anyhow::bail!("no such user") });
        Ok(load.await?)
    }
    async fn many_by_anyhow(store: &Store) -> anyhow::Result<usize> {
        let load = store.get_or_load_many(["k"], |_| async { anyhow::bail!("no such user") });
        let values: std::collections::HashMap<String, u32> = load.await?;
        Ok(values.len())
    }
    async fn in_a_box(store: &Store) -> Result<u32, Boxed> {
        let load = store.get_or_load("k", || async { Err::<u32, Boxed>("no such user".into()) });
        Ok(load.outcome().await?.value)
    }
    let store = memory().await;
    let expected = "the loader failed: no such user";
    assert_eq!(by_anyhow(&store).await.unwrap_err().to_string(), expected);
    assert_eq!(many_by_anyhow(&store).await.unwrap_err().to_string(), expected);
    assert_eq!(in_a_box(&store).await.unwrap_err().to_string(), expected);
}

/// An error that is not [`std::error::Error`], as `anyhow::Error` is not.
#[derive(Debug, PartialEq)]
struct Code(u32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_tells_the_loaders_error_or_the_stores() {
    let store = memory().await;
    let failed = fails_with(&store, Code(7)).await;
    assert_eq!(failed.to_string(), "the loader failed: code 7");
    assert!(failed.source().is_none(), "the message includes it");
    assert_eq!(failed.into_loader().as_deref(), Some(&Code(7)));

    let chain = anyhow::anyhow!("row 5").context("no such user");
    let failed = fails_with(&store, chain).await;
    assert_eq!(failed.to_string(), "the loader failed: no such user");
    assert_eq!(format!("{failed:#}"), "the loader failed: no such user: row 5");

    let refused = store.get_or_load(" ", || async { Ok::<u32, Code>(1) }).await;
    let refused = refused.unwrap_err();
    assert!(
        refused.to_string().contains(&Error::KeyRequired.to_string()),
        "{refused}"
    );
    let cause = refused.source().and_then(|cause| cause.downcast_ref::<Error>());
    assert!(matches!(cause, Some(Error::KeyRequired)), "{cause:?}");
    assert_eq!(refused.into_loader(), None);

    /// An error that cannot be shown still ends a load.
    struct Mute;
    assert!(fails_with(&store, Mute).await.into_loader().is_some());
}

#[test]
fn what_was_stored_already_is_a_hit() {
    let hits = [Origin::Fresh, Origin::Stale];
    let others = [Origin::Loaded, Origin::Joined, Origin::Superseded];
    assert!(hits.into_iter().all(Origin::is_hit) && !others.into_iter().any(Origin::is_hit));
}
