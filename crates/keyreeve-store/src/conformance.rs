//! What every store must do, as named cases.
//!
//! A backend is done when each of [`CASES`] passes on a fresh store of its kind:
//!
//! ```ignore
//! for (name, case) in CASES {
//!     let harness = Harness::new(fresh_store(), signer.verifier());
//!     case(harness).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
//! }
//! ```

/// Asserts that a unit of work was refused, and for what.
macro_rules! assert_refused {
    ($result:expr, $why:ident($kind:ident)) => {{
        let result = $result;
        assert!(
            matches!(
                result,
                Err(::keyreeve_engine::store::CommitError::$why(
                    ::keyreeve_engine::store::Kind::$kind
                ))
            ),
            "expected {}({}), got {result:?}",
            stringify!($why),
            stringify!($kind),
        );
    }};
}

mod audit;
mod calls;
mod closing;
mod concurrency;
mod duties;
mod filters;
mod harness;
mod isolation;
mod keys;
mod pages;
mod policies;
mod postgres_server;
mod recorder;
mod results;
pub mod samples;
mod sinks;
mod tenancy;
mod units;
mod usage;
mod valkey_server;
mod vault;
mod webhooks;

pub use harness::{Case, CaseFuture, Failure, Harness, Outcome};
pub use postgres_server::PostgresServer;
pub use valkey_server::ValkeyServer;

macro_rules! cases {
    ($($group:ident { $($case:ident,)+ })+) => {
        &[$($(
            (
                concat!(stringify!($group), "::", stringify!($case)),
                |harness| Box::pin($group::$case(harness)),
            ),
        )+)+]
    };
}

/// Every case with its name. Each wants a fresh store.
pub const CASES: &[Case] = cases! {
    tenancy {
        projects_are_listed_by_name,
        a_project_is_made_whole_in_one_unit,
        only_the_default_project_makes_others,
        taken_names_are_refused,
        nothing_is_made_in_an_unknown_project,
        everything_is_read_back_as_it_was_written,
        updates_need_the_next_revision,
        updates_keep_what_never_changes,
        what_keys_refer_to_stays,
        what_no_key_refers_to_goes,
        ensuring_an_owner_keeps_the_known_one,
    }
    keys {
        a_key_is_read_back_whole,
        every_lifecycle_is_read_back,
        a_taken_id_is_refused,
        new_keys_refer_to_what_exists,
        changed_keys_refer_to_what_exists,
        built_in_roles_always_exist,
        updates_need_the_next_revision,
        what_makes_a_key_this_key_never_changes,
        words_follow_updates,
        a_purged_key_leaves_nothing,
        a_key_that_changed_is_not_purged,
    }
    calls {
        calls_add_up_by_day,
        batches_are_found_and_forgotten,
    }
    webhooks {
        an_event_is_accepted_once,
        events_are_listed_and_due,
        events_of_a_key_are_due_one_after_the_other,
        what_waits_of_a_source_ends_at_once,
        what_ended_is_forgotten_and_what_waits_is_not,
    }
    usage {
        usage_adds_up,
        usage_of_unknown_keys_is_skipped,
        purging_forgets_usage,
    }
    policies {
        what_bounds_keys_is_read_back,
        claims_stand_on_what_is_known,
        claims_go_with_what_they_are_for,
        what_a_sink_does_not_want_is_read,
        a_foreign_key_is_recognised_once,
    }
    results {
        an_answer_is_remembered_once,
        old_answers_are_forgotten_everywhere,
        whether_there_are_old_answers,
        purging_forgets_answers,
    }
    duties {
        terms_are_numbered_by_holder,
        whoever_lost_a_duty_is_refused,
    }
    pages {
        keys_come_newest_first_without_gaps_or_repeats,
        filtered_keys_come_in_pages,
        owners_come_by_id_in_pages,
        expiring_keys_come_soonest_first,
        expired_keys_come_longest_expired_first,
        foreign_cursors_are_refused,
        cursors_beyond_the_ends_are_fine,
    }
    filters {
        keys_are_found_by_each_part,
        keys_are_found_by_several_parts,
        names_are_searched_literally,
        states_are_what_the_domain_says,
        expired_is_what_the_domain_says,
    }
    audit {
        every_unit_is_recorded_in_order,
        entries_are_read_back_whole,
        entries_are_found_by_each_part,
        entries_come_newest_first_in_pages,
        entries_about_one_thing_are_found_far_back,
        the_log_is_read_from_anywhere,
        an_empty_log_is_signed,
        the_log_verifies,
        tree_heads_are_kept,
    }
    units {
        a_refused_unit_leaves_nothing,
        changes_build_on_one_another,
        a_unit_without_changes_is_recorded,
        a_refused_project_leaves_nothing,
    }
    sinks {
        sinks_see_commits_in_order,
        sinks_do_not_see_refused_units,
        loading_replays_all_but_the_deleted,
        loading_misses_nothing,
    }
    concurrency {
        units_at_once_all_land,
        one_of_many_updates_wins,
        refused_units_harm_no_other,
    }
    isolation {
        projects_do_not_see_each_other,
        projects_do_not_change_each_other,
    }
    closing {
        an_open_store_is_well,
        a_closed_store_says_so,
    }
    vault {
        records_are_read_back_and_follow_their_revisions,
        versions_are_kept_moved_and_dropped,
        nothing_is_kept_for_an_unknown_project,
    }
};
