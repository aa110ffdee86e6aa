//! The contract of a store: written once, and run over every engine.
//!
//! A case is an `async fn case(store: Store)` whose store is fresh and empty. Time is real, because
//! a server's would be. An engine joins with one line, [`contract!`], that names how it is opened; a
//! case joins by its name in a list below, and one that is forgotten there is dead code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calls;
mod contexts;
mod counters;
mod counts;
mod dependencies;
mod events;
mod keys;
mod lifecycle;
mod lifetimes;
mod loaded;
mod loads;
mod locks;
mod many;
mod models;
mod order;
mod skipped;
#[path = "../support/mod.rs"]
mod support;
mod swaps;
mod sweeping;
mod updates;
mod values;

use cachestore::{Config, Store};

/// One test for each case, whose store `$open` opens with these settings.
macro_rules! tests {
    ($open:ident, $settings:expr; $($cases:tt)+) => {
        tests! { #[tokio::test], $open, $settings; $($cases)+ }
    };
    (#[$test:meta], $open:ident, $settings:expr; $($module:ident: $($case:ident),+;)+) => {$(
        mod $module {$(
            #[$test]
            async fn $case() {
                if let Some(reason) = crate::skipped::reason(stringify!($open), stringify!($case)) {
                    return eprintln!("skipped: {reason}");
                }
                let store = crate::$open($settings).await;
                crate::$module::$case(store).await;
            }
        )+}
    )+};
}

/// The cases for a store at the root and in a namespace alike.
macro_rules! everywhere {
    ($open:ident, $settings:expr) => {
        of_calls!($open, $settings);
        of_loads!($open, $settings);
    };
}

/// Those of all calls but loads.
macro_rules! of_calls {
    ($open:ident, $settings:expr) => {
        tests! { $open, $settings;
            values: an_absent_key_is_none_and_false,
                every_form_of_value_is_read_as_it_was_written,
                a_value_is_any_bytes,
                an_empty_value_is_a_value,
                text_that_is_not_utf8_is_a_decode_error,
                the_last_set_wins,
                a_text_is_not_a_model,
                add_writes_only_where_there_is_nothing,
                replace_writes_only_where_there_is_something,
                compare_and_set_writes_only_over_what_is_expected,
                take_reads_and_deletes,
                delete_says_whether_there_was_a_value,
                every_clone_sees_what_was_written,
                of_many_adds_one_wins,
                of_many_takes_one_gets_the_value,
                compare_and_set_loses_no_update;
            counters: counting_begins_at_zero,
                counting_goes_on_from_what_was_set,
                a_counter_is_not_a_model,
                other_forms_of_a_number_are_none,
                a_sum_past_64_bits_is_refused,
                counting_keeps_ttl_and_dependencies,
                no_count_is_lost,
                the_call_that_creates_a_counter_sets_its_ttl,
                a_rate_limiter_opens_again,
                counting_with_a_ttl_is_counting,
                no_count_is_lost_and_one_call_creates_the_counter,
                a_counter_is_read_as_the_integer_that_it_is;
            counts: of_reads,
                of_changes,
                of_loads,
                of_loads_with_windows,
                of_stale_values,
                of_joined_loads;
            lifetimes: an_entry_without_a_ttl_is_persistent,
                ttl_tells_what_is_left_in_whole_milliseconds,
                every_write_takes_a_ttl,
                an_entry_does_not_go_before_its_time,
                an_entry_past_its_time_is_absent,
                a_write_without_a_ttl_clears_the_old_one,
                a_write_that_is_not_made_leaves_the_ttl,
                expire_sets_a_ttl_from_now,
                persist_takes_the_ttl_away,
                a_ttl_that_is_none_is_refused,
                the_longest_ttl_is_a_century,
                the_shortest_ttl_is_a_millisecond;
            swaps: swap_returns_what_was_there,
                of_many_swaps_each_value_is_returned_once,
                swap_writes_as_set_does,
                swap_ends_what_is_being_loaded,
                get_and_touch_returns_the_value_and_renews_its_ttl,
                a_session_that_is_used_lives_on,
                get_and_touch_keeps_dependencies,
                get_and_touch_of_a_loaded_value_sets_its_fresh_time;
            many: values_come_in_the_order_asked,
                no_keys_are_no_work,
                keys_are_any_iterator_of_text,
                thousands_travel_together,
                of_a_key_given_twice_the_last_value_stays,
                a_write_of_many_is_refused_whole,
                a_delete_of_many_counts_what_was_there_once,
                a_delete_of_many_is_refused_whole;
            sweeping: a_scan_yields_the_keys_that_begin_so,
                a_scan_of_nothing_ends,
                a_scan_takes_its_prefix_literally,
                a_scan_yields_thousands,
                a_scan_during_writes_misses_nothing_that_stays,
                a_scan_can_be_left_half_way,
                a_namespace_scans_its_own_keys_only,
                clear_removes_all_and_counts,
                long_work_tells_how_far_it_has_come,
                a_report_that_panics_is_its_callers_own,
                long_work_takes_a_time_of_its_own,
                clear_of_a_namespace_leaves_all_others,
                a_scan_of_a_closed_store_is_an_error_and_its_end,
                what_a_scan_gives_can_be_given_back,
                a_scan_of_entries_yields_keys_and_values,
                a_scan_of_entries_is_no_read,
                a_scan_of_entries_goes_on_while_others_write;
            keys: keys_are_taken_as_they_are,
                lock_keys_are_taken_as_they_are,
                loads_answer_under_the_keys_that_were_asked_for,
                white_space_inside_a_key_stays,
                every_call_requires_a_key,
                a_key_has_its_length,
                a_longer_key_is_refused_by_every_call,
                hostile_keys_do_not_collide,
                namespaces_are_apart,
                namespaces_nest,
                no_key_leaves_its_namespace,
                a_namespace_has_a_name;
            dependencies: an_invalidation_removes_the_key_and_its_dependents,
                a_name_need_not_be_a_key,
                any_of_an_entrys_names_invalidates_it,
                an_entry_under_several_names_counts_once,
                every_write_records_dependencies,
                a_write_that_is_not_made_records_nothing,
                changes_in_place_keep_dependencies,
                dependencies_cascade,
                a_diamond_counts_once,
                cycles_end,
                an_intermediate_that_is_gone_still_connects,
                a_chain_that_is_gone_still_connects,
                deleting_a_key_leaves_its_dependents,
                an_expired_dependent_is_not_counted,
                names_are_taken_as_they_are,
                one_name_or_many,
                an_invalidation_is_refused_whole,
                names_belong_to_their_namespace,
                thousands_are_invalidated_at_once,
                thousands_of_names_at_once,
                what_is_written_after_an_invalidation_stays;
            lifecycle: a_ping_is_answered,
                a_handle_shows_what_it_is_and_no_more,
                stats_count_what_was_done,
                stats_count_every_refusal,
                a_closed_store_answers_closed_to_every_call,
                a_second_close_is_ok,
                many_may_close_at_once,
                a_call_that_meets_a_close_has_one_of_two_ends,
                other_handles_outlive_the_first;
            events: a_change_is_told_once_and_in_order,
                reads_and_ttls_are_not_told,
                a_loaded_value_is_told_when_it_is_stored,
                an_invalidation_tells_what_it_removed,
                a_clearing_is_told_by_one_event,
                every_listener_is_told_and_a_dropped_one_harms_nobody,
                a_closed_store_ends_the_stream,
                a_listener_keeps_no_store_open;
            locks: a_wait_that_outlasts_the_holder_is_never_in_vain,
                a_wait_in_vain_holds_up_nobody;
        }
    };
}

/// Those of loads, and of what they have stored.
macro_rules! of_loads {
    ($open:ident, $settings:expr) => {
        tests! { $open, $settings;
            loads: a_value_is_loaded_once_and_then_read,
                many_callers_share_one_load,
                a_thousand_callers_of_a_cold_key_call_one_loader,
                a_call_that_is_not_polled_holds_up_no_other,
                a_call_that_has_gone_leaves_no_lease_behind,
                who_joins_a_load_shares_its_value,
                a_loaded_value_has_its_ttl_and_windows,
                a_stale_value_is_served_while_a_new_one_is_loaded,
                a_failure_is_told_and_not_kept,
                what_changes_while_it_is_loaded_is_not_stored,
                what_is_none_of_its_business_supersedes_nothing,
                many_keys_are_loaded_by_one_call,
                a_load_goes_on_without_its_callers,
                a_load_is_refused_before_its_loader_runs,
                what_another_version_has_stored_is_a_miss;
            contexts: a_loader_says_how_long_its_value_is_fresh,
                a_value_depends_on_what_its_loader_found_out,
                a_change_of_what_only_the_result_names_keeps_it_from_being_stored,
                a_name_without_a_value_can_change_too,
                what_the_result_does_not_name_supersedes_nothing,
                who_calls_after_such_a_change_loads_anew,
                a_value_is_given_and_not_stored_if_its_loader_says_so,
                what_is_made_from_an_unstored_value_follows_what_that_depends_on,
                what_is_made_from_an_unstored_value_is_not_stored_after_its_lease,
                what_is_made_from_an_unstored_value_ends_with_what_that_depends_on,
                what_is_made_from_an_unstored_value_without_names_is_stored,
                a_change_of_a_long_name_is_noted_too,
                a_name_that_a_loader_finds_out_is_refused_as_any_is,
                a_loader_knows_the_value_that_it_replaces,
                the_options_of_loads_hold_for_it,
                one_loader_is_told_of_many_keys,
                a_value_that_is_confirmed_is_kept_for_another_ttl,
                a_validator_stays_whatever_becomes_of_the_ttl,
                a_cached_none_with_a_validator_is_none,
                an_old_value_that_has_gone_is_not_kept,
                an_old_value_is_not_kept_under_a_lease_that_has_ended,
                there_is_nothing_to_confirm_without_an_old_value,
                a_confirmed_value_can_be_given_and_not_kept,
                a_validator_has_a_length,
                of_many_old_values_those_that_are_there_are_kept;
            loaded: ttl_tells_how_long_a_value_is_fresh,
                expire_sets_the_fresh_time_and_its_windows_follow,
                expire_leaves_the_age_as_it_is,
                a_stale_value_stays_stale,
                persist_makes_a_value_fresh_for_ever,
                add_writes_over_what_is_stale,
                expire_keeps_the_dependencies,
                the_form_of_another_version_counts_as_absent,
                bytes_that_begin_as_a_loaded_value_are_a_value;
        }
    };
}

/// The cases for every codec.
macro_rules! every_model {
    ($open:ident, $settings:expr) => {
        tests! { $open, $settings;
            models: a_model_is_read_as_it_was_written,
                anything_that_serializes_is_a_model,
                floats_come_back_bit_for_bit,
                models_with_serde_attributes_come_back,
                sequences_of_bytes_come_back,
                a_model_can_change_its_fields,
                a_model_is_a_value_too,
                a_model_takes_a_ttl_and_dependencies,
                many_models_come_in_the_order_asked,
                many_models_are_given_by_value_or_by_reference,
                one_undecodable_value_makes_many_undecodable,
                what_is_no_such_model_is_a_decode_error_and_stays,
                a_model_nests_to_64_levels,
                a_model_that_refuses_is_an_encode_error,
                a_decode_error_tells_nothing_of_the_value;
            loaded: a_cached_none_is_no_model,
                a_value_that_does_not_decode_again_is_given_to_its_own_caller;
            updates: add_model_writes_only_where_there_is_nothing,
                compare_and_set_model_compares_values,
                compare_and_set_model_takes_what_was_encoded_otherwise,
                update_model_creates_changes_and_deletes,
                update_model_leaves_what_is_no_such_model,
                a_stale_value_is_absent_to_an_update,
                no_update_is_lost,
                a_deleting_update_deletes_only_what_it_saw,
                tries_without_success_are_a_conflict,
                an_update_ends_what_is_being_loaded;
        }
    };
}

/// All cases, over the engine that the function `$open` opens.
macro_rules! contract {
    ($engine:ident: $open:ident) => {
        contract! { $engine: $open;
            mod as_go_has_it {
                tests! { $open, |config| config.go_compatible();
                    keys: go_trims_the_keys_of_values_alone;
                    swaps: swap_returns_what_was_there,
                        swap_writes_as_set_does,
                        get_and_touch_keeps_dependencies;
                }
            }
        }
    };
    // Without those for stores that share their keys with go-cachestore, unless they are given as `$more`.
    ($engine:ident: $open:ident; $($more:item)?) => {
        mod $engine {
            $($more)?
            mod at_the_root {
                everywhere!($open, |config| config);
                mod alone {
                    tests! { $open, |config| config;
                        keys: at_the_root_the_librarys_own_keys_are_reserved,
                            the_root_sees_a_namespace_under_its_path;
                        loads: a_clearing_ends_the_loads_that_depend_on_what_it_removes;
                        events: a_namespace_hears_of_its_own_keys;
                        sweeping: the_root_scans_and_clears_everything;
                    }
                }
            }
            mod in_a_namespace {
                everywhere!($open, |config| config.namespace("tenant"));
                mod alone {
                    tests! { $open, |config| config.namespace("tenant");
                        keys: inside_a_namespace_no_key_is_reserved;
                    }
                }
            }
            mod with_limits {
                tests! { $open, |config| config.max_value_bytes(1000).max_key_bytes(10);
                    values: a_value_over_the_limit_is_refused;
                    swaps: a_swap_that_is_too_large_changes_nothing;
                    keys: the_length_of_a_key_counts_without_its_namespace;
                }
            }
            mod with_small_values {
                tests! { $open, |config| config.max_value_bytes(1);
                    counters: a_counter_may_be_longer_than_values;
                }
            }
            mod with_a_default_ttl {
                tests! { $open, |config| config.default_ttl(std::time::Duration::from_secs(60));
                    lifetimes: the_default_ttl_holds_for_writes_that_name_none,
                        the_default_ttl_can_be_overruled,
                        the_default_ttl_is_not_for_counters;
                    swaps: swap_takes_the_default_ttl;
                }
            }
            mod on_two_workers {
                tests! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)],
                    $open, |config| config;
                    order: a_dropped_guard_is_released_for_the_next_lock,
                        a_dropped_guard_is_released_for_calls_by_secret,
                        a_dropped_extension_does_not_outlive_its_guard,
                        a_dropped_release_is_made_before_the_next_lock,
                        a_dropped_waiter_is_in_nobodys_way;
                }
                mod with_room_for_one {
                    tests! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)],
                        $open, |config| config.max_load_waiters(1);
                        order: a_dropped_load_makes_room_for_the_next;
                    }
                }
            }
            mod in_message_pack {
                every_model!($open, |config| config.codec(cachestore::Codec::MessagePack));
            }
            mod in_json {
                every_model!($open, |config| config.codec(cachestore::Codec::Json));
                mod alone {
                    tests! { $open, |config| config.codec(cachestore::Codec::Json);
                        loaded: a_value_that_json_does_not_read_again_is_given_to_all_who_wait;
                    }
                }
            }
        }
    };
}

contract!(memory: open_memory);
#[cfg(feature = "testing")]
contract!(memory_behind_faults: open_memory_behind_faults);

/// A fresh, empty store in memory, once `settings` has changed its configuration.
async fn open_memory(settings: fn(Config) -> Config) -> Store {
    support::open(settings(Config::memory())).await
}

/// The same behind an engine that could inject faults.
#[cfg(feature = "testing")]
async fn open_memory_behind_faults(settings: fn(Config) -> Config) -> Store {
    support::open(settings(Config::memory().faults(&Default::default()))).await
}

#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod harness;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
use redis::*;

#[cfg(not(feature = "redis"))]
#[test]
#[ignore = "needs the Cargo feature `redis`"]
fn redis() {}
