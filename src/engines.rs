//! Which engines there are: the only place, besides the configuration, that tells one from another.

mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use kameo::Actor;

use self::memory::Memory;
#[cfg(feature = "redis")]
use self::redis::Redis;

use crate::config::{Config, EngineConfig, Settings};
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};
#[cfg(feature = "testing")]
use crate::testing::Faulty;

/// The profile of the engine that `config` names.
pub(crate) fn profile(config: &Config) -> Profile {
    let settings = &config.settings;
    match &config.engine {
        EngineConfig::Memory(options) => profile_of(Memory::new(*options), settings),
        #[cfg(feature = "redis")]
        EngineConfig::Redis(options) => profile_of(Redis::new(options.clone()), settings),
    }
}

/// Starts the engine that `config` names.
pub(crate) async fn start<S: Actor>(config: Config, start: Start, crew: &mut Crew<S>) -> EngineNotifications {
    let settings = &config.settings;
    match config.engine {
        EngineConfig::Memory(options) => start_engine(Memory::new(options), settings, start, crew).await,
        #[cfg(feature = "redis")]
        EngineConfig::Redis(options) => start_engine(Redis::new(options), settings, start, crew).await,
    }
}

#[cfg_attr(
    not(feature = "testing"),
    allow(unused_variables, reason = "settings are for faults")
)]
fn profile_of(engine: impl Engine, settings: &Settings) -> Profile {
    #[cfg(feature = "testing")]
    if let Some(faults) = &settings.faults {
        return Faulty::new(engine, faults.clone()).profile();
    }
    engine.profile()
}

#[cfg_attr(
    not(feature = "testing"),
    allow(unused_variables, reason = "settings are for faults")
)]
async fn start_engine<S: Actor>(
    engine: impl Engine,
    settings: &Settings,
    start: Start,
    crew: &mut Crew<S>,
) -> EngineNotifications {
    #[cfg(feature = "testing")]
    if let Some(faults) = &settings.faults {
        return Faulty::new(engine, faults.clone()).start(start, crew).await;
    }
    engine.start(start, crew).await
}
