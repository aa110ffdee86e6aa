//! What does not hold over an engine, and why.

/// Over all nodes of a cluster, whether its slots stay where they are or not.
const OVER_ALL_NODES: &[&str] = &["open_redis_whole_cluster", "open_redis_moving_cluster"];

/// How stores are opened, the cases that are left out there, and the reason.
const SKIPPED: [(&[&str], &[&str], &str); 4] = [
    (
        OVER_ALL_NODES,
        &[
            "a_write_that_is_not_made_records_nothing",
            "add_writes_over_what_is_stale",
        ],
        "a conditional write registers its key before it knows whether it is made, and no step is atomic over two slots",
    ),
    (
        OVER_ALL_NODES,
        &[
            "a_confirmed_value_can_be_given_and_not_kept",
            "a_value_depends_on_what_its_loader_found_out",
            "a_value_that_is_confirmed_is_kept_for_another_ttl",
            "an_old_value_is_not_kept_under_a_lease_that_has_ended",
            "of_many_old_values_those_that_are_there_are_kept",
            "one_loader_is_told_of_many_keys",
            "what_is_made_from_an_unstored_value_without_names_is_stored",
            "what_the_result_does_not_name_supersedes_nothing",
        ],
        "a value is stored only if its names were known when the load began: nobody watches the names that its loader finds out",
    ),
    (
        &["open_redis_moving_cluster"],
        &[
            "a_loaded_value_is_told_when_it_is_stored",
            "get_and_touch_of_a_loaded_value_sets_its_fresh_time",
            "loads_answer_under_the_keys_that_were_asked_for",
            "of_joined_loads",
            "of_loads",
            "of_loads_with_windows",
            "of_stale_values",
            "one_name_or_many",
            "swap_ends_what_is_being_loaded",
        ],
        "a slot that moves ends the leases of its loads, and what they load is given but not stored",
    ),
    (
        &["open_redis_moving_cluster"],
        &[
            "a_clearing_is_told_by_one_event",
            "a_delete_of_many_counts_what_was_there_once",
            "a_delete_of_many_is_refused_whole",
            "a_namespace_scans_its_own_keys_only",
            "a_report_that_panics_is_its_callers_own",
            "a_scan_can_be_left_half_way",
            "a_scan_during_writes_misses_nothing_that_stays",
            "a_scan_of_entries_goes_on_while_others_write",
            "a_scan_of_entries_is_no_read",
            "a_scan_of_entries_yields_keys_and_values",
            "a_scan_takes_its_prefix_literally",
            "a_scan_yields_the_keys_that_begin_so",
            "a_scan_yields_thousands",
            "a_ttl_that_is_none_is_refused",
            "a_write_of_many_is_refused_whole",
            "an_entry_past_its_time_is_absent",
            "an_invalidation_is_refused_whole",
            "an_invalidation_removes_the_key_and_its_dependents",
            "clear_of_a_namespace_leaves_all_others",
            "clear_removes_all_and_counts",
            "hostile_keys_do_not_collide",
            "keys_are_taken_as_they_are",
            "long_work_takes_a_time_of_its_own",
            "long_work_tells_how_far_it_has_come",
            "namespaces_nest",
            "no_key_leaves_its_namespace",
            "of_changes",
            "the_last_set_wins",
            "thousands_are_invalidated_at_once",
            "what_a_scan_gives_can_be_given_back",
            "white_space_inside_a_key_stays",
        ],
        "a scan or a clearing may miss keys of a slot that is between two nodes when it ends, or was away meanwhile, \
         and a scan may yield them twice",
    ),
];

/// Why a case is left out for a store that is opened so.
pub(crate) fn reason(open: &str, case: &str) -> Option<&'static str> {
    let skipped = SKIPPED
        .iter()
        .find(|(opens, cases, _)| opens.contains(&open) && cases.contains(&case));
    skipped.map(|(_, _, reason)| *reason)
}
