//! The guide: one page for each subject. Every example on these pages is run by the tests.
//!
//! | to learn | read |
//! |---|---|
//! | the first ten minutes | [`getting_started`] |
//! | to choose between memory and Redis | [`engines`], [`topologies`], [`near_cache`] |
//! | to cache the answers of a source | [`loads`], [`ageing`] |
//! | to remove entries whose source has changed | [`dependencies`] |
//! | to let one task at a time do something | [`locks`] |
//! | to use it from kameo actors | [`actors`] |
//! | to test your service | [`testing`] |
//! | to run it in production | [`operations`], [`observability`], [`command_line`], [`security`], [`settings`], [`errors`] |
//! | all calls, and their costs | [`calls`], [`costs`] |
//! | quick answers | [`faq`] |
//! | to move from another library | [`coming_from_moka`], [`coming_from_cached`], [`coming_from_redis_rs`], [`coming_from_go_cachestore`] |
//!
//! The pages are Markdown files in `docs/`. This module exists in documentation only, and costs a build nothing.

/// Makes a module of a page. The first definition of a link counts in Markdown, so that links lead to the modules here,
/// and to the files where the pages are read as files.
macro_rules! pages {
    ($($(#[$picture:meta])* $name:ident: $file:literal,)*) => {$(
        ///
        #[doc = "[getting-started]: crate::guide::getting_started"]
        #[doc = "[engines]: crate::guide::engines"]
        #[doc = "[topologies]: crate::guide::topologies"]
        #[doc = "[near-cache]: crate::guide::near_cache"]
        #[doc = "[loads]: crate::guide::loads"]
        #[doc = "[ageing]: crate::guide::ageing"]
        #[doc = "[dependencies]: crate::guide::dependencies"]
        #[doc = "[locks]: crate::guide::locks"]
        #[doc = "[actors]: crate::guide::actors"]
        #[doc = "[operations]: crate::guide::operations"]
        #[doc = "[observability]: crate::guide::observability"]
        #[doc = "[command-line]: crate::guide::command_line"]
        #[doc = "[security]: crate::guide::security"]
        #[doc = "[settings]: crate::guide::settings"]
        #[doc = "[errors]: crate::guide::errors"]
        #[doc = "[costs]: crate::guide::costs"]
        #[doc = "[dashboard]: https://docs.rs/crate/cachestore/latest/source/docs/pictures/dashboard.png"]
        #[doc = "[hit-ratio]: https://docs.rs/crate/cachestore/latest/source/docs/pictures/hit-ratio.svg"]
        #[doc = "[lock-hand-off]: https://docs.rs/crate/cachestore/latest/source/docs/pictures/lock-hand-off.svg"]
        #[doc = "[value-age]: https://docs.rs/crate/cachestore/latest/source/docs/pictures/value-age.svg"]
        #[doc = "[reporting]: https://docs.rs/crate/cachestore/latest/source/SECURITY.md"]
        ///
        $(#[$picture])*
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    )*};
}

pages! {
    getting_started: "getting-started.md",
    engines: "engines.md",
    topologies: "topologies.md",
    near_cache: "near-cache.md",
    loads: "loads.md",
    ageing: "ageing.md",
    dependencies: "dependencies.md",
    locks: "locks.md",
    actors: "actors.md",
    testing: "testing.md",
    operations: "operations.md",
    observability: "observability.md",
    command_line: "command-line.md",
    security: "security.md",
    settings: "settings.md",
    errors: "errors.md",
    calls: "calls.md",
    costs: "costs.md",
    faq: "faq.md",
    coming_from_moka: "coming-from-moka.md",
    coming_from_cached: "coming-from-cached.md",
    coming_from_redis_rs: "coming-from-redis-rs.md",
    coming_from_go_cachestore: "coming-from-go-cachestore.md",
}
