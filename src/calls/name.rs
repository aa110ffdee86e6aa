//! The names of the calls.

/// Makes the enum of the calls, each with the name that it has in metrics and spans.
macro_rules! calls {
    ($($Name:ident => $name:literal,)*) => {
        /// A call of the public API. Calls that differ only in the type of the value have one name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum CallName {
            $($Name,)*
        }

        impl CallName {
            pub(crate) const ALL: &'static [CallName] = &[$(CallName::$Name),*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(CallName::$Name => $name,)*
                }
            }
        }
    };
}

calls! {
    Add => "add",
    Clear => "clear",
    CompareAndSet => "compare_and_set",
    Delete => "delete",
    DeleteMany => "delete_many",
    Exists => "exists",
    Expire => "expire",
    ExtendLock => "extend_lock",
    ForceRelease => "force_release",
    Get => "get",
    GetAndTouch => "get_and_touch",
    GetMany => "get_many",
    GetOrLoad => "get_or_load",
    GetOrLoadMany => "get_or_load_many",
    Incr => "incr",
    Invalidate => "invalidate",
    Lock => "lock",
    LockInfo => "lock_info",
    Persist => "persist",
    Ping => "ping",
    RedisCommand => "redis_command",
    ReleaseLock => "release_lock",
    Replace => "replace",
    Scan => "scan",
    ScanEntries => "scan_entries",
    Set => "set",
    SetMany => "set_many",
    Stats => "stats",
    Swap => "swap",
    Take => "take",
    Ttl => "ttl",
    UpdateModel => "update_model",
}
