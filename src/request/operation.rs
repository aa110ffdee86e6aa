//! The trait of operations, and the macro that makes operations from the rows of a table.

use std::fmt;

use super::change::KeyChange;
use super::{Keys, Reply, Request};

/// One thing that an engine can be asked to do. The rows of [`table`](super::table) are the operations.
///
/// An engine implements a trait of its own for each operation: `Serve` in memory, `Exchange` on Redis. A row
/// without both does not compile.
pub(crate) trait Operation: Send + Sized + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;

    /// The name of its row.
    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str;

    fn effect(&self) -> Effect;

    /// The change of its keys, judged by its answer. The engine judges a step on a lease.
    fn change(answer: &Self::Answer) -> Option<KeyChange>;

    /// The keys that it touches. They decide its order among other operations and its connection to a server.
    fn keys(&self) -> Keys<'_>;

    /// The bytes that it holds beyond its own size.
    fn bytes(&self) -> usize;

    /// Drops the values to be written, which are not needed any more.
    fn drop_values(&mut self);

    /// The request that asks for this and is answered by `reply`.
    fn into_request(self, reply: Reply<Self::Answer>) -> Request;
}

/// What an operation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing. The operation is skipped if its caller has gone, and may be sent to a server again.
    Question,
    /// Something other than values: a TTL, a lease, a lock. It is never sent again.
    Aside,
    /// The values of its keys. It is never sent again, and ends the leases that name one of the keys.
    Change,
}

/// An operation and where its answer goes.
pub(crate) struct Asked<O: Operation> {
    pub(crate) operation: O,
    pub(crate) reply: Reply<O::Answer>,
}

impl<O: Operation> Asked<O> {
    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        self.operation.effect() == Effect::Question && self.reply.is_closed()
    }
}

/// Shows no value, and no argument of a command.
impl<O: Operation> fmt::Debug for Asked<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({:?})", self.operation.effect())
    }
}

/// The name of a row as that of a call: `GetMany` is `get_many`.
#[cfg(feature = "testing")]
pub(super) fn lower_case(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// Makes operations from rows: for each a type and its [`Operation`], and for all of them the enum that travels
/// to an engine and the macro by which an engine treats each variant by the same expression.
///
/// A row is `Name { field: Type, .. } -> Answer: Effect of field`, where the last word is the field that has the
/// keys, or `nothing`. `Writes` and `Deletes` are [`Effect::Change`], and name what listeners are told.
/// `Decided by field` lets a field tell the effect.
macro_rules! operations {
    (
        $d:tt
        $(#[doc = $about:literal])*
        enum $Enum:ident in Request::$Variant:ident, matched by $on_each:ident;
        $(
            $(#[doc = $doc:literal])*
            $(#[cfg($cfg:meta)])?
            $Name:ident { $($field:ident: $Type:ty),* } -> $Answer:ty:
                $effect:ident $(by $judge:ident)? of $keys:ident;
        )*
    ) => {
        $(#[doc = $about])*
        pub(crate) enum $Enum {
            $($(#[cfg($cfg)])? $Name(Asked<$Name>),)*
        }

        $(
            $(#[doc = $doc])*
            $(#[cfg($cfg)])?
            pub(crate) struct $Name {
                $(pub(crate) $field: $Type,)*
            }

            $(#[cfg($cfg)])?
            impl Operation for $Name {
                type Answer = $Answer;

                #[cfg(feature = "testing")]
                fn name(&self) -> &'static str {
                    stringify!($Name)
                }

                fn effect(&self) -> Effect {
                    operations!(@effect self $effect $($judge)?)
                }

                fn change(_answer: &$Answer) -> Option<KeyChange> {
                    operations!(@change _answer $effect)
                }

                fn keys(&self) -> Keys<'_> {
                    operations!(@keys self $keys)
                }

                fn bytes(&self) -> usize {
                    0 $(+ Field::bytes(&self.$field))*
                }

                fn drop_values(&mut self) {
                    $(Field::drop_values(&mut self.$field);)*
                }

                fn into_request(self, reply: Reply<$Answer>) -> Request {
                    Request::$Variant($Enum::$Name(Asked { operation: self, reply }))
                }
            }
        )*

        /// Evaluates the expression for the operation and the reply that the request consists of.
        macro_rules! $on_each {
            ($d request:expr, $d asked:pat => $d body:expr) => {
                match $d request {
                    $($(#[cfg($cfg)])? $crate::request::$Enum::$Name($d asked) => $d body,)*
                }
            };
        }
        pub(crate) use $on_each;
    };
    (@effect $this:ident Decided $judge:ident) => { $this.$judge.effect() };
    (@effect $this:ident Writes) => { Effect::Change };
    (@effect $this:ident Deletes) => { Effect::Change };
    (@effect $this:ident $effect:ident) => { Effect::$effect };
    (@change $answer:ident Writes) => { Tells::has_written($answer).then_some(KeyChange::Written) };
    (@change $answer:ident Deletes) => { Tells::has_deleted($answer).then_some(KeyChange::Deleted) };
    (@change $answer:ident $effect:ident) => { None };
    (@keys $this:ident nothing) => { Keys::None };
    (@keys $this:ident $field:ident) => { Keyed::keys(&$this.$field) };
}
pub(super) use operations;
