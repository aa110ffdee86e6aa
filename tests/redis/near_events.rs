//! What listeners of a store on one server hear of changes by others.

use crate::harness::RedisServer;
use crate::harness::near_events::near_event_cases;

near_event_cases!(RedisServer);
