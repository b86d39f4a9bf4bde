//! The checks, a module for each part of the contract, and what runs them.
//!
//! A check gets a [`World`] of its own. After each one [`run`] also checks what must hold in every
//! state: the books balance for every account, and entries replay to the balances shown.

pub mod audit;
pub mod budgets;
pub mod controls;
pub mod end_user_lists;
pub mod end_users;
pub mod events;
pub mod feed;
pub mod idempotency;
pub mod isolation;
pub mod keys;
pub mod lanes;
pub mod late;
pub mod leases;
pub mod llm_configs;
pub mod logs;
pub mod low_balance;
pub mod model;
pub mod model_routes;
pub mod nodes;
pub mod periods;
pub mod platforms;
pub mod prices;
pub mod rate_limits;
pub mod recon;
pub mod refunds;
pub mod responses;
pub mod statements;
pub mod sweeps;
pub mod unconfirmed;
pub mod wallets;
pub mod webhooks;

use std::fmt::Debug;
use std::sync::Arc;

use super::world::{BEGIN, World};
use crate::clock::{Clock, ManualClock};
use crate::store::{StoreError, Stores};

/// Makes a world with the stores that `make` returns, runs a check in it, then checks the books.
pub async fn run(
    make: impl AsyncFnOnce(Arc<dyn Clock>) -> Stores,
    check: impl AsyncFnOnce(&World),
) {
    let clock = ManualClock::new(BEGIN.parse().unwrap());
    let stores = make(Arc::new(clock.clone())).await;
    let world = World { stores, clock };
    check(&world).await;
    world.assert_consistent().await;
}

/// Calls what a suite was given to make stores with. Used by
/// [`store_conformance!`](crate::store_conformance).
pub async fn make(
    make: impl AsyncFnOnce(Arc<dyn Clock>) -> Stores,
    clock: Arc<dyn Clock>,
) -> Stores {
    make(clock).await
}

#[track_caller]
fn assert_not_found<T: Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::NotFound)),
        "not refused as unknown: {result:?}"
    );
}

#[track_caller]
fn assert_conflict<T: Debug>(result: Result<T, StoreError>, with: &str) {
    let refused = matches!(&result, Err(StoreError::Conflict(what)) if *what == with);
    assert!(refused, "not refused as conflict with `{with}`: {result:?}");
}

#[track_caller]
fn assert_lost<T: Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Lost { .. })),
        "not refused as lost: {result:?}"
    );
}

/// Runs the same thing many times at once, on the runtime's threads.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    times: usize,
    task: impl Fn(usize) -> F,
) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..times {
        tasks.spawn(task(index));
    }
    tasks.join_all().await
}

/// Expands to a module of tests, one for each check of the storage contract.
///
/// The second argument makes fresh, empty stores that take their time from the given clock:
///
/// ```ignore
/// assistiv_core::store_conformance!(memory, |clock| async move { MemoryStore::stores(clock) });
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($name:ident, $make:expr) => {
        async fn $name(
            clock: ::std::sync::Arc<dyn $crate::clock::Clock>,
        ) -> $crate::store::Stores {
            $crate::testing::conformance::make($make, clock).await
        }

        mod $name {
            use super::$name as make;

            $crate::store_conformance! { @tests make
                platforms {
                    creation_makes_wallet_key_and_opening_entry,
                    a_wallet_that_opens_empty_has_no_entry,
                    a_taken_slug_changes_nothing,
                    platforms_are_listed_newest_first,
                    the_platform_filter_is_literal,
                    an_update_frees_the_old_slug,
                    a_platform_update_keeps_what_is_not_given,
                    concurrent_platform_updates_all_stand,
                    the_ledger_survives_deletion,
                    calls_in_flight_settle_after_deletion,
                }
                end_users {
                    creation_makes_user_key_and_budget,
                    a_repeat_adds_a_key_and_keeps_the_user,
                    concurrent_first_calls_make_one_user,
                    an_inactive_user_gets_no_key,
                    the_key_unused_for_longest_gives_way,
                    an_update_changes_only_what_may_change,
                    concurrent_user_updates_all_stand,
                    deletion_takes_keys_and_budget_along,
                    an_unknown_platform_has_no_users,
                }
                end_user_lists {
                    the_user_search_is_literal,
                    an_exact_external_id_comes_first,
                    users_are_filtered_and_paged,
                    users_are_found_by_either_name,
                }
                keys {
                    a_digest_finds_keys_of_every_kind,
                    a_record_says_who_is_switched_off,
                    use_is_stamped,
                    the_key_limit_holds_for_each_holder,
                    the_key_limit_holds_at_once,
                    a_new_key_takes_the_place_of_others,
                    the_last_managing_key_stays,
                    two_managing_keys_do_not_go_at_once,
                    keys_are_listed_by_holder,
                    a_key_update_changes_only_what_may_change,
                    a_revocation_beside_renames_stands,
                    a_deletion_beside_renames_stands,
                    operator_keys_belong_to_no_platform,
                }
                llm_configs {
                    the_first_active_config_becomes_the_default,
                    a_new_default_takes_it_from_its_siblings,
                    deleting_the_default_promotes_the_newest,
                    secrets_come_only_with_active_configs,
                    a_config_update_keeps_what_is_not_given,
                    concurrent_config_updates_all_stand,
                    configs_are_listed_newest_first,
                    configs_are_filtered,
                }
                model_routes {
                    overrides_are_replaced_whole,
                    overrides_stay_on_their_platform,
                    overrides_are_told_and_go_with_the_platform,
                }
                rate_limits {
                    limits_of_a_platform_are_changed_one_by_one,
                    an_end_user_has_limits_of_its_own,
                    limits_come_with_the_key,
                    limits_stay_on_their_platform_and_are_told,
                    windows_are_used_up_to_their_limits,
                    all_windows_are_taken_from_or_none,
                    concurrent_requests_never_exceed_a_limit,
                    counts_are_corrected,
                    old_windows_are_forgotten,
                }
                audit {
                    every_change_has_its_entry,
                    what_did_not_happen_has_no_entry,
                    acts_on_money_have_entries,
                    entries_are_filtered,
                    entries_outlive_the_platform,
                }
                feed {
                    changes_are_told,
                    changes_of_configs_are_told,
                    changes_are_shown_for_a_minute,
                }
                isolation {
                    another_platform_reaches_no_end_users,
                    another_platform_reaches_no_keys,
                    another_platform_reaches_no_llm_configs,
                    another_platform_reaches_no_ledger,
                    another_platform_cannot_act,
                }
                wallets {
                    a_top_up_changes_balance_and_entry,
                    a_top_up_out_of_range_is_refused,
                    the_threshold_is_set_and_cleared,
                    leases_do_not_change_the_balance,
                    wallet_entries_chain_over_pages,
                    concurrent_top_ups_add_up,
                    an_adjustment_moves_the_balance,
                    an_adjustment_takes_only_what_is_free,
                }
                idempotency {
                    a_repeat_replays_the_outcome,
                    another_request_with_the_key_is_refused,
                    concurrent_repeats_take_effect_once,
                    a_refused_act_does_not_consume_the_key,
                    an_entry_is_posted_once_without_a_key_too,
                }
                budgets {
                    a_budget_is_made_once,
                    a_removed_budget_starts_afresh,
                    a_top_up_raises_limit_and_remainder,
                    a_top_up_of_an_unset_limit_is_refused,
                    a_debit_may_exceed_what_remains,
                    suspension_is_recorded_and_blocks,
                    an_update_that_changes_nothing_posts_nothing,
                    a_changed_limit_is_recorded,
                    an_update_that_leaves_no_limit_is_refused,
                    acts_without_a_budget_are_refused,
                    concurrent_debits_add_up,
                }
                refunds {
                    a_charge_is_given_back_in_parts,
                    a_debit_by_hand_is_given_back,
                    a_refund_may_leave_the_wallet_out,
                    a_refund_of_another_period_uses_nothing_below_zero,
                    the_display_leg_is_given_back,
                    what_is_no_debit_of_the_user_is_not_found,
                    concurrent_refunds_give_back_once,
                    a_removed_budget_is_refunded,
                }
                unconfirmed {
                    a_doubtful_charge_is_listed,
                    doubtful_charges_are_filtered,
                    a_charge_that_stands_moves_nothing,
                    a_refund_gives_back_what_is_left_once,
                    what_was_given_back_is_not_given_back_again,
                    an_unlisted_charge_is_not_resolved,
                    charges_without_a_budget_are_given_back,
                    a_repeated_resolution_takes_effect_once,
                }
                prices {
                    prices_are_kept_in_order,
                    a_repeated_price_is_added_once,
                    calls_are_found_by_their_beginning,
                    an_open_stream_keeps_its_time_unsettled,
                    an_overcharge_is_given_back_once,
                    an_undercharge_is_charged,
                    refunds_and_reratings_share_a_charge,
                    what_was_charged_later_is_refunded_too,
                    an_overcharge_of_another_period_uses_nothing_below_zero,
                    a_removed_end_user_is_compensated,
                    a_rerating_is_recorded_once,
                }
                recon {
                    one_of_many_reconciles,
                    runs_are_due_by_their_schedule,
                    a_run_that_is_left_makes_room,
                    sums_go_on_from_the_checkpoint,
                    differences_are_told_to_operators,
                    refunds_are_found_with_what_they_give_back,
                    what_ought_not_to_be_there_is_found,
                    operators_are_told_once,
                }
                responses {
                    responses_are_seen_by_their_owners,
                    a_chain_leads_to_the_beginning,
                    a_response_is_kept_once,
                    expired_responses_go_with_their_conversation,
                    a_thread_has_one_turn_at_a_time,
                    responses_go_with_their_owner,
                }
                webhooks {
                    webhooks_are_kept,
                    another_platform_reaches_no_webhooks,
                    events_are_fanned_out_once,
                    a_delivery_is_claimed_by_one,
                    failures_are_due_again,
                    a_rotated_secret_signs_for_a_day,
                    what_fails_for_long_is_switched_off,
                    old_deliveries_are_pruned,
                }
                statements {
                    filtered_entries_keep_their_balances,
                    pages_of_filtered_entries_are_whole,
                    display_units_are_rows_of_their_own,
                    a_statement_is_the_list_of_its_period,
                    a_statement_ends_where_entries_are_settled,
                    a_period_that_is_over_has_one_statement,
                    a_statement_without_entries_says_what_stood,
                    statements_belong_to_a_platform,
                }
                periods {
                    a_reset_comes_at_the_boundary_once,
                    concurrent_reads_reset_once,
                    missed_boundaries_are_one_reset,
                    replenishing_sets_the_limits_anew,
                    charges_after_the_boundary_count_for_the_new_period,
                    an_act_after_the_boundary_comes_after_the_reset,
                    a_due_account_grants_nothing_until_reset,
                    nothing_is_reset_before_its_time,
                    due_budgets_are_found,
                }
                leases {
                    a_grant_never_exceeds_what_is_free,
                    a_grant_fills_up_to_the_target,
                    what_is_left_over_is_shared,
                    a_grant_says_what_others_hold,
                    what_is_not_enforced_is_not_granted,
                    a_blocked_account_gives_nothing_but_takes_back,
                    what_is_given_back_is_free_again,
                    unknown_accounts_are_passed_over,
                    nodes_share_an_account,
                    concurrent_leases_never_grant_too_much,
                    a_wrong_lease_number_is_lost,
                }
                events {
                    acts_tell_what_they_did,
                    users_are_told_of,
                    nothing_done_is_nothing_told,
                    events_are_read_in_order,
                    old_events_are_pruned,
                }
                low_balance {
                    a_debit_that_crosses_is_told_once,
                    both_limits_crossed_by_one_debit_are_one_event,
                    limits_crossed_apart_are_told_apart,
                    calls_cross_at_the_first_entry_that_did,
                    every_lease_checks,
                    an_act_checks_before_it_changes_anything,
                    what_raises_the_remainder_arms_again,
                    a_lowered_limit_waits_for_the_next_debit,
                    a_raised_threshold_waits_for_the_next_debit,
                    a_threshold_without_limit_is_never_crossed,
                    a_reset_arms_again,
                    the_wallet_is_watched_too,
                    a_refund_arms_the_wallet_again,
                    nobody_is_told_of_what_is_gone,
                    concurrent_debits_cross_once,
                    concurrent_charges_cross_once,
                }
                lanes {
                    settling_posts_entries_and_debits_slots,
                    a_budget_charge_counts_as_used,
                    a_wrong_number_is_lost_and_nothing_applies,
                    a_resent_batch_is_lost_and_was_applied,
                    an_entry_is_posted_once,
                    a_repeated_entry_in_one_batch_is_refused,
                    streams_open_update_and_close,
                    lanes_are_numbered_apart,
                    an_unknown_node_is_lost,
                    a_charge_is_found_by_its_call,
                    charges_are_read_in_parts,
                }
                sweeps {
                    a_sweep_charges_streams_once_and_returns_slots,
                    a_swept_stream_without_budget_charges_the_wallet,
                    a_swept_node_is_fenced,
                    a_sweep_counts_charges_of_doubtful_delivery,
                    a_sweep_takes_every_open_node,
                    closing_returns_slots,
                    a_closed_node_is_not_swept,
                }
                nodes {
                    a_silent_node_is_swept_after_its_time,
                    a_heartbeat_keeps_a_node_alive,
                    a_node_that_is_out_hears_so,
                    a_draining_node_settles_and_may_die,
                    sweeping_all_spares_who_may_be_alive,
                    sweepers_at_once_sweep_once,
                    a_late_heartbeat_or_a_sweep_wins,
                    a_batch_beside_a_sweep_counts_or_is_lost,
                    charges_in_doubt_are_refunded,
                    a_refund_of_doubt_gives_back_the_rest,
                    a_slot_is_read,
                }
                controls {
                    an_account_is_recalled_once_a_second,
                    recalls_at_once_are_one,
                    messages_grow_old,
                    acts_tell_what_changed,
                    a_debit_of_what_is_leased_recalls_it,
                    deletions_are_told,
                    what_has_no_effect_is_not_told,
                    a_message_waits_for_every_live_node,
                }
                late {
                    the_difference_is_posted_once,
                    what_was_charged_too_much_returns,
                    an_exact_charge_is_left_alone,
                    nothing_is_late_before_the_sweep,
                    what_was_not_recorded_is_not_charged,
                    a_correction_stays_on_its_accounts,
                    a_correction_gives_nothing_back_twice,
                    late_settlements_at_once_correct_once,
                    a_late_settlement_beside_the_sweep_corrects_it,
                }
                logs {
                    a_row_is_read_as_it_was_written,
                    a_row_is_written_once,
                    rows_follow_the_ledger,
                    rows_are_listed_newest_first,
                    rows_are_filtered,
                    usage_is_the_sum_of_the_rows,
                    old_rows_go_and_usage_stays,
                    a_platforms_rows_go_with_it,
                    rows_that_wait_are_found,
                    the_mark_moves_forward,
                    concurrent_writers_count_each_row_once,
                }
                model {
                    random_steps_agree_with_plain_sums,
                }
            }
        }
    };
    (@tests $make:ident $($module:ident { $($check:ident,)* })*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let check = $crate::testing::conformance::$module::$check;
                $crate::testing::conformance::run($make, check).await;
            }
        )*)*
    };
}
