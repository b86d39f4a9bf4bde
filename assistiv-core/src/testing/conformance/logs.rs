//! The request log: rows and rollups that always say the same.

use super::assert_not_found;
use crate::billing::CountMethod;
use crate::clock::Timestamp;
use crate::id::{KeyId, LogId, ModelId, PlatformId, PriceId, ProviderId};
use crate::json::RawObject;
use crate::logs::{
    BillingStatus, LogFilter, LogRow, LogStatus, Outcome, RequestType, SLOT_MICROS, Step, Sums,
    UsageDimension, UsageQuery, UsageRow,
};
use crate::money::NanoUsd;
use crate::store::Page;
use crate::testing::world::{World, every};
use crate::testing::{fixtures, scopes};

/// A billed success of a model, `seconds` after the world began.
fn row(world: &World, platform: PlatformId, seconds: i64) -> LogRow {
    let at = world.now().as_micros() + seconds * 1_000_000;
    LogRow {
        id: LogId::new(),
        platform_id: platform,
        end_user_id: None,
        api_key_id: Some(KeyId::new()),
        request_type: RequestType::ChatCompletion,
        provider: Some((ProviderId::new(), "openai".parse().unwrap())),
        model: Some((ModelId::new(), "gpt-4o-mini".parse().unwrap())),
        provider_model_id: Some("gpt-4o-mini-2024-07-18".to_owned()),
        prompt_tokens: 120,
        completion_tokens: 45,
        latency_ms: 612,
        cost: NanoUsd::new(45_000),
        status: LogStatus::Success,
        error_message: None,
        reason: None,
        count_method: CountMethod::Reported,
        billing_status: BillingStatus::Billed,
        request_id: Some(format!("req_{seconds}")),
        starts_request: true,
        overhead_us: Some(184),
        price_id: Some(PriceId::new()),
        metadata: RawObject::new(),
        created_at: Timestamp::from_micros(at),
    }
}

fn failed(row: LogRow) -> LogRow {
    LogRow {
        status: LogStatus::Error,
        billing_status: BillingStatus::Unbilled,
        cost: NanoUsd::ZERO,
        prompt_tokens: 0,
        completion_tokens: 0,
        reason: Some("provider_error".to_owned()),
        error_message: Some("the provider failed".to_owned()),
        ..row
    }
}

fn of_model(row: LogRow, model: &str) -> LogRow {
    LogRow {
        model: Some((ModelId::new(), model.parse().unwrap())),
        ..row
    }
}

async fn append(world: &World, rows: &[LogRow]) -> u64 {
    world
        .stores
        .logs
        .append(&scopes::engine(), rows)
        .await
        .unwrap()
}

async fn listed(world: &World, platform: PlatformId, filter: &LogFilter) -> Vec<LogRow> {
    let scope = scopes::platform(platform);
    every(3, async |page| {
        world.stores.logs.list(&scope, filter, page).await
    })
    .await
}

async fn usage(world: &World, platform: PlatformId, query: &UsageQuery) -> Vec<UsageRow> {
    let scope = scopes::platform(platform);
    world.stores.logs.usage(&scope, query).await.unwrap()
}

/// Everything from a day before the world's beginning until a day after.
fn around(world: &World) -> UsageQuery {
    let day = 86_400 * 1_000_000;
    UsageQuery {
        from: Timestamp::from_micros(world.now().as_micros() - day),
        to: Timestamp::from_micros(world.now().as_micros() + day),
        end_user_id: None,
        model: None,
        group_by: None,
        step: None,
    }
}

async fn total(world: &World, platform: PlatformId) -> Sums {
    match &usage(world, platform, &around(world)).await[..] {
        [] => Sums::default(),
        [one] => one.sums,
        more => panic!("one line without grouping: {more:?}"),
    }
}

/// A row is read back as it was written, by itself and in lists.
pub async fn a_row_is_read_as_it_was_written(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let full = LogRow {
        end_user_id: Some(ann.id),
        metadata: fixtures::from_json(r#"{"tool":"search","n":1.50}"#),
        ..failed(row(world, acme.platform.id, 0))
    };
    let bare = LogRow {
        api_key_id: None,
        provider: None,
        model: None,
        provider_model_id: None,
        request_id: None,
        overhead_us: None,
        price_id: None,
        count_method: CountMethod::Estimated,
        request_type: RequestType::McpTool,
        starts_request: false,
        ..row(world, acme.platform.id, 1)
    };
    assert_eq!(append(world, &[full.clone(), bare.clone()]).await, 2);
    for expected in [&full, &bare] {
        let found = world.stores.logs.row(&acme.scope, expected.id).await;
        assert_eq!(found.unwrap(), *expected);
    }
    let all = listed(world, acme.platform.id, &LogFilter::default()).await;
    assert_eq!(all, [bare, full]);
}

/// A row is written once: another one with its id changes nothing, in the same batch or later.
pub async fn a_row_is_written_once(world: &World) {
    let acme = world.tenant("acme").await;
    let first = row(world, acme.platform.id, 0);
    let again = LogRow {
        cost: NanoUsd::new(1),
        ..first.clone()
    };
    assert_eq!(append(world, &[first.clone(), again.clone()]).await, 1);
    assert_eq!(append(world, &[again]).await, 0);
    assert_eq!(append(world, &[]).await, 0);
    assert_eq!(total(world, acme.platform.id).await, first.sums());
    let found = world.stores.logs.row(&acme.scope, first.id).await.unwrap();
    assert_eq!(found, first);
}

/// Rows and rollups follow the ledger together, and a billed row stays billed.
pub async fn rows_follow_the_ledger(world: &World) {
    let acme = world.tenant("acme").await;
    let waiting = LogRow {
        billing_status: BillingStatus::Pending,
        ..row(world, acme.platform.id, 0)
    };
    append(world, std::slice::from_ref(&waiting)).await;
    let sums = total(world, acme.platform.id).await;
    assert_eq!(
        (sums.rows, sums.pending, sums.billed, sums.cost),
        (1, 1, 0, NanoUsd::ZERO)
    );
    let logs = &world.stores.logs;
    let outcome = |billing_status, cost| Outcome {
        id: waiting.id,
        billing_status,
        cost: NanoUsd::new(cost),
    };
    let unknown = Outcome {
        id: LogId::new(),
        ..outcome(BillingStatus::Billed, 9)
    };
    for (told, expected) in [
        (
            outcome(BillingStatus::Unbilled, 0),
            outcome(BillingStatus::Unbilled, 0),
        ),
        (
            outcome(BillingStatus::Billed, 45_000),
            outcome(BillingStatus::Billed, 45_000),
        ),
        (
            outcome(BillingStatus::Billed, 44_000),
            outcome(BillingStatus::Billed, 44_000),
        ),
        (
            outcome(BillingStatus::Unbilled, 0),
            outcome(BillingStatus::Billed, 44_000),
        ),
    ] {
        logs.resolve(&scopes::engine(), &[unknown, told])
            .await
            .unwrap();
        let ids = [waiting.id, unknown.id];
        let states = logs.states(&scopes::engine(), &ids).await.unwrap();
        assert_eq!(states, [expected]);
        let sums = total(world, acme.platform.id).await;
        let billed = u64::from(expected.billing_status == BillingStatus::Billed);
        assert_eq!(
            (sums.rows, sums.pending, sums.billed, sums.cost),
            (1, 0, billed, expected.cost)
        );
    }
}

/// Lists are newest first, of one platform, and in pages whose total is true.
pub async fn rows_are_listed_newest_first(world: &World) {
    let acme = world.tenant("acme").await;
    let globex = world.tenant("globex").await;
    let mut rows: Vec<_> = (0..7)
        .map(|n| row(world, acme.platform.id, n * 400))
        .collect();
    // Of two at the same time, the one with the larger id comes first.
    rows.push(LogRow {
        created_at: rows[6].created_at,
        ..row(world, acme.platform.id, 0)
    });
    append(world, &rows).await;
    append(world, &[row(world, globex.platform.id, 0)]).await;
    rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
    let all = listed(world, acme.platform.id, &LogFilter::default()).await;
    assert_eq!(all, rows);
    assert_eq!(
        listed(world, globex.platform.id, &LogFilter::default())
            .await
            .len(),
        1
    );
    let theirs = world.stores.logs.row(&globex.scope, rows[0].id).await;
    assert_not_found(theirs);
    let beyond = Page {
        page: 9,
        limit: 100,
    };
    let logs = &world.stores.logs;
    let page = logs
        .list(&acme.scope, &LogFilter::default(), beyond)
        .await
        .unwrap();
    assert_eq!((page.rows.len(), page.total), (0, 8));

    // In parts, each behind the last row of the one before.
    let mut scanned = Vec::new();
    loop {
        let after = scanned.last().map(|row: &LogRow| (row.created_at, row.id));
        let part = logs
            .list_after(&acme.scope, &LogFilter::default(), after, 3)
            .await
            .unwrap();
        if part.is_empty() {
            break;
        }
        scanned.extend(part);
    }
    assert_eq!(scanned, rows);
}

/// Every filter, alone and with others, finds what it says; the total agrees however it is counted.
pub async fn rows_are_filtered(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let id = acme.platform.id;
    let mut rows = Vec::new();
    for n in 0..24 {
        let mut made = row(world, id, n * 250);
        if n % 2 == 0 {
            made.end_user_id = Some(ann.id);
        }
        if n % 3 == 0 {
            made = of_model(made, "echo");
        }
        if n % 4 == 0 {
            made = failed(made);
        }
        if n % 5 == 0 {
            made.billing_status = BillingStatus::Pending;
        }
        if n % 7 == 0 {
            made.request_type = RequestType::Embedding;
        }
        rows.push(made);
    }
    append(world, &rows).await;
    rows.reverse();
    let at = |n: i64| Timestamp::from_micros(world.now().as_micros() + n * 1_000_000);
    let none = LogFilter::default;
    let filters = [
        LogFilter {
            model: Some("echo".parse().unwrap()),
            ..none()
        },
        LogFilter {
            model: Some("gone".parse().unwrap()),
            ..none()
        },
        LogFilter {
            end_user_id: Some(ann.id),
            ..none()
        },
        LogFilter {
            request_type: Some(RequestType::Embedding),
            end_user_id: Some(ann.id),
            ..none()
        },
        LogFilter {
            status: Some(LogStatus::Error),
            ..none()
        },
        LogFilter {
            status: Some(LogStatus::Success),
            model: Some("echo".parse().unwrap()),
            ..none()
        },
        LogFilter {
            billing_status: Some(BillingStatus::Pending),
            ..none()
        },
        LogFilter {
            billing_status: Some(BillingStatus::Unbilled),
            ..none()
        },
        LogFilter {
            billing_status: Some(BillingStatus::Billed),
            status: Some(LogStatus::Success),
            ..none()
        },
        LogFilter {
            request_id: Some("req_500".to_owned()),
            ..none()
        },
        // Bounds inside slots, at their edges, in the same slot, and the wrong way round.
        LogFilter {
            from: Some(at(301)),
            to: Some(at(4_001)),
            ..none()
        },
        LogFilter {
            from: Some(at(900)),
            to: Some(at(1_800)),
            end_user_id: Some(ann.id),
            ..none()
        },
        LogFilter {
            from: Some(at(250)),
            to: Some(at(751)),
            ..none()
        },
        LogFilter {
            from: Some(at(2_000)),
            to: Some(at(1_000)),
            ..none()
        },
        LogFilter {
            from: Some(at(1_001)),
            status: Some(LogStatus::Error),
            ..none()
        },
        LogFilter {
            to: Some(at(1_001)),
            ..none()
        },
    ];
    for filter in filters {
        let expected: Vec<_> = rows.iter().filter(|row| filter.matches(row)).collect();
        let found = listed(world, id, &filter).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

/// Usage is the sum of the rows, whole, by every dimension, and by steps, whatever its bounds.
pub async fn usage_is_the_sum_of_the_rows(world: &World) {
    let acme = world.tenant("acme").await;
    let globex = world.tenant("globex").await;
    let ann = world.end_user(&acme, "ann").await;
    let id = acme.platform.id;
    append(world, &[row(world, globex.platform.id, 0)]).await;
    let key = KeyId::new();
    let mut rows = Vec::new();
    for n in 0..30 {
        let mut made = LogRow {
            api_key_id: Some(key),
            ..row(world, id, n * 311)
        };
        if n % 2 == 0 {
            made.end_user_id = Some(ann.id);
        }
        if n % 3 == 0 {
            made = of_model(made, "echo");
        }
        if n % 5 == 0 {
            made = failed(made);
        }
        if n % 7 == 0 {
            made.request_type = RequestType::McpTool;
            made.model = None;
            made.provider = None;
            made.api_key_id = None;
        }
        made.starts_request = n % 4 != 1;
        rows.push(made);
    }
    for rows in rows.chunks(11) {
        append(world, rows).await;
    }
    let at = |n: i64| Timestamp::from_micros(world.now().as_micros() + n * 1_000_000);
    let groups = [
        None,
        Some(UsageDimension::Model),
        Some(UsageDimension::Provider),
        Some(UsageDimension::EndUser),
        Some(UsageDimension::ApiKey),
        Some(UsageDimension::RequestType),
    ];
    let hour = Step {
        micros: 4 * SLOT_MICROS,
        offset_micros: 0,
    };
    let local = Step {
        offset_micros: 22 * SLOT_MICROS,
        ..hour
    };
    let mut queries = Vec::new();
    for group_by in groups {
        for step in [None, Some(hour), Some(local)] {
            for (from, to) in [
                (-1, 100_000),
                (0, 900),
                (301, 5_003),
                (310, 700),
                (500, 500),
            ] {
                for (end_user_id, model) in [
                    (None, None),
                    (Some(ann.id), None),
                    (None, Some("echo".parse().unwrap())),
                ] {
                    queries.push(UsageQuery {
                        from: at(from),
                        to: at(to),
                        end_user_id,
                        model,
                        group_by,
                        step,
                    });
                }
            }
        }
    }
    for query in queries {
        let filter = LogFilter {
            end_user_id: query.end_user_id,
            model: query.model.clone(),
            from: Some(query.from),
            to: Some(query.to),
            ..LogFilter::default()
        };
        let mut expected = std::collections::BTreeMap::new();
        for row in rows.iter().filter(|row| filter.matches(row)) {
            let step = query.step.map_or(0, |step| step.number(row.created_at));
            let key = query.group_by.and_then(|by| by.key_of(row));
            let line: &mut Sums = expected.entry((step, key)).or_default();
            *line = line.plus(&row.sums());
        }
        let found: Vec<_> = usage(world, id, &query)
            .await
            .into_iter()
            .map(|row| ((row.step, row.key), row.sums))
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{query:?}");
    }
}

/// Old rows go, a batch at a time, and are gone for every reader at once; usage keeps them.
pub async fn old_rows_go_and_usage_stays(world: &World) {
    let acme = world.tenant("acme").await;
    let id = acme.platform.id;
    let rows: Vec<_> = (0..6).map(|n| row(world, id, n * 900)).collect();
    append(world, &rows).await;
    let before = total(world, id).await;
    let logs = &world.stores.logs;
    // Rounded down to a slot: the row at the begin of the slot stays.
    let cut = Timestamp::from_micros(rows[4].created_at.as_micros() + 1_000_000);
    let prune = async || logs.prune(&scopes::engine(), cut, 3).await.unwrap();
    assert_eq!(prune().await, 3);
    let kept = listed(world, id, &LogFilter::default()).await;
    assert_eq!(kept, [rows[5].clone(), rows[4].clone()]);
    assert_not_found(logs.row(&acme.scope, rows[3].id).await);
    assert_eq!((prune().await, prune().await), (1, 0));
    assert_eq!(
        logs.pruned_before(&scopes::engine()).await.unwrap(),
        Some(rows[4].created_at)
    );
    let all = |row: &LogRow| row.cost.get();
    let [sum] = logs.billed(&scopes::operator()).await.unwrap()[..] else {
        panic!("one platform has rows");
    };
    assert_eq!(sum.platform_id, id);
    assert_eq!(sum.rolled_up.get(), rows.iter().map(all).sum::<i64>());
    assert_eq!(sum.rows.get(), rows[4..].iter().map(all).sum::<i64>());
    assert_eq!(sum.rolled_up_kept, sum.rows);
    assert_eq!(total(world, id).await, before);
}

/// The rows of a platform go with it, and nobody else's.
pub async fn a_platforms_rows_go_with_it(world: &World) {
    let acme = world.tenant("acme").await;
    let globex = world.tenant("globex").await;
    let mut rows: Vec<_> = (0..3).map(|n| row(world, acme.platform.id, n)).collect();
    rows.push(row(world, globex.platform.id, 0));
    append(world, &rows).await;
    let logs = &world.stores.logs;
    let mut both = vec![acme.platform.id, globex.platform.id];
    both.sort_unstable();
    assert_eq!(logs.platforms(&scopes::engine()).await.unwrap(), both);
    let forget = async || {
        logs.forget_platform(&scopes::engine(), acme.platform.id, 2)
            .await
            .unwrap()
    };
    assert_eq!((forget().await, forget().await, forget().await), (2, 1, 0));
    assert_eq!(total(world, acme.platform.id).await, Sums::default());
    assert_eq!(total(world, globex.platform.id).await, rows[3].sums());
    let left = logs.platforms(&scopes::engine()).await.unwrap();
    assert_eq!(left, [globex.platform.id]);
}

/// Rows that wait for their charge are found by their age.
pub async fn rows_that_wait_are_found(world: &World) {
    let acme = world.tenant("acme").await;
    let id = acme.platform.id;
    let waiting = |seconds| LogRow {
        billing_status: BillingStatus::Pending,
        ..row(world, id, seconds)
    };
    let (old, young) = (waiting(0), waiting(100));
    append(world, &[row(world, id, 0), old.clone(), young.clone()]).await;
    let logs = &world.stores.logs;
    let found = logs.pending(&scopes::engine(), young.created_at, 10).await;
    assert_eq!(found.unwrap(), [(id, old.id)]);
}

/// How far the ledger was looked through is kept, and never goes back.
pub async fn the_mark_moves_forward(world: &World) {
    let logs = &world.stores.logs;
    let engine = scopes::engine();
    let mark = async || logs.repaired_to(&engine).await.unwrap();
    assert_eq!(mark().await, 0);
    for (set, expected) in [(5, 5), (3, 5), (6, 6)] {
        logs.set_repaired_to(&engine, set).await.unwrap();
        assert_eq!(mark().await, expected);
    }
}

/// Rows that are written at the same time, some of them twice, are all counted once.
pub async fn concurrent_writers_count_each_row_once(world: &World) {
    let acme = world.tenant("acme").await;
    let rows: Vec<_> = (0..40)
        .map(|n| row(world, acme.platform.id, n * 100))
        .collect();
    let new = super::at_once(8, |n| {
        let (world, rows) = (world.clone(), rows.clone());
        async move { append(&world, &rows[n * 4..n * 4 + 12]).await }
    })
    .await;
    assert_eq!(new.into_iter().sum::<u64>(), 40);
    let sums = total(world, acme.platform.id).await;
    assert_eq!((sums.rows, sums.cost.get()), (40, 40 * 45_000));
}
