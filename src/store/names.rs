//! One name or many: what calls that take dependency names accept.

/// Names of dependencies: one name, or many.
///
/// [`depends_on`](crate::Set::depends_on) and [`invalidate`](crate::Store::invalidate) take one name as any
/// text (`&str`, `String`, `Cow<str>`, `Arc<str>`, ...), and many as anything that iterates over text: an
/// array, a `Vec`, a slice, an iterator. The compiler infers the marker `M`, which is [`One`] or [`Many`]. The trait is
/// sealed: other crates cannot implement it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// let tags = vec![String::from("user:1"), String::from("user:2")];
/// store.set("page", "<html>").depends_on("user:1").await?;
/// store.set("page", "<html>").depends_on(["user:1", "user:2"]).await?;
/// store.set("page", "<html>").depends_on(&tags).await?;
/// store.set("page", "<html>").depends_on(tags.iter().take(1)).await?;
/// assert_eq!(store.invalidate("user:1").await?, 1);
/// # Ok(()) }
/// ```
///
/// A number is not a name:
///
/// ```compile_fail,E0283
/// # async fn unclear(store: cachestore::Store) {
/// store.set("page", "<html>").depends_on(1);
/// # }
/// ```
pub trait IntoNames<M>: sealed::Names<M> {}

impl<M, N: sealed::Names<M>> IntoNames<M> for N {}

/// Marks a type that is one name: see [`IntoNames`].
#[derive(Debug)]
pub enum One {}

/// Marks a type that has many names: see [`IntoNames`].
#[derive(Debug)]
pub enum Many {}

mod sealed {
    use super::{Many, One};

    /// The marker keeps the two implementations apart. Without it, a type could be both one name and many.
    pub trait Names<M> {
        /// What `make` makes of each name, or its first error.
        fn each<T, E>(self, make: impl FnMut(&str) -> Result<T, E>) -> Result<Vec<T>, E>;
    }

    impl<N: AsRef<str>> Names<One> for N {
        fn each<T, E>(self, mut make: impl FnMut(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
            Ok(vec![make(self.as_ref())?])
        }
    }

    impl<I: IntoIterator<Item: AsRef<str>>> Names<Many> for I {
        fn each<T, E>(self, mut make: impl FnMut(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
            self.into_iter().map(|name| make(name.as_ref())).collect()
        }
    }
}
