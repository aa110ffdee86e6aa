//! Which engines there are: the only place, besides the configuration, that tells one from another.

use kameo::Actor;

use crate::config::EngineConfig;
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};
use crate::memory::Memory;
#[cfg(feature = "redis")]
use crate::redis::Redis;

/// The profile of the engine that `config` names.
pub(crate) fn profile(config: &EngineConfig) -> Profile {
    match config {
        EngineConfig::Memory { capacity_bytes } => Memory::new(*capacity_bytes).profile(),
        #[cfg(feature = "redis")]
        EngineConfig::Redis(options) => Redis::new(options.clone()).profile(),
    }
}

/// Starts the engine that `config` names.
pub(crate) async fn start<S: Actor>(
    config: EngineConfig,
    start: Start,
    crew: &mut Crew<S>,
) -> EngineNotifications {
    match config {
        EngineConfig::Memory { capacity_bytes } => Memory::new(capacity_bytes).start(start, crew).await,
        #[cfg(feature = "redis")]
        EngineConfig::Redis(options) => Redis::new(options).start(start, crew).await,
    }
}
