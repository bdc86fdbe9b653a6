//! Delivering events: to receivers that are good, slow, wrong and hostile, by
//! workers that die and by several at once.

use crate::fixture::{State, id};
use crate::hooks::{Hooks, ids, loopback, verified};
use crate::receiver::{Does, Receiver};
use berth_leasing::store::MIGRATIONS;
use berth_leasing::{Outbox, WebhookConfig, reconcile};
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::webhook_service_server::WebhookService as _;
use pb::webhook_delivery::State as Delivery;
use pb::webhook_status::State as Webhook;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;

fn problem(delivery: &pb::WebhookDelivery) -> &str {
    &delivery.answer.as_ref().unwrap().problem
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_receiver_is_told_the_whole_story_in_order_each_event_once_and_signed(db: PgPool) {
    let hooks = Hooks::new(db).await;
    let receiver = Receiver::plain().await;
    let (webhook, secret) = hooks.create(&receiver.url(), &[]).await.unwrap();
    let lease = hooks.house.lease_of(86_400).await.id;
    for seconds in [0, 2400, 3600, 61] {
        hooks.house.pass(seconds).await;
        hooks.house.turn().await;
        for _ in 0..3 {
            hooks.turn().await;
        }
    }
    hooks.house.until(&lease, State::Closed).await;
    hooks.turn().await;

    let calls = receiver.calls();
    let bodies: Vec<_> = calls.iter().map(|call| verified(call, &secret)).collect();
    let topics: Vec<_> = bodies.iter().map(|body| body["type"].as_str()).collect();
    let wanted = ["balance.low", "balance.low", "lease.unpaid", "lease.ended"];
    assert_eq!(topics, wanted.map(Some));
    assert!(calls.iter().all(|call| call.path == "/hook?a=1"));
    let unpaid = &bodies[2];
    assert_eq!(unpaid["object"]["id"], lease.as_str());
    assert_eq!(unpaid["account"], hooks.house.account.to_string());
    let said = unpaid["stop_time"].as_str().unwrap();
    let said = said.split('.').next().unwrap().replace('T', " ");
    let message = unpaid["message"].as_str().unwrap();
    assert!(message.contains(&said), "{message}: {said}");

    let deliveries = hooks.deliveries(&webhook.id).await;
    let states: Vec<_> = deliveries.iter().map(pb::WebhookDelivery::state).collect();
    assert_eq!(states, [Delivery::Delivered; 4]);
    let status = hooks.get(&webhook.id).await.unwrap().status.unwrap();
    assert!(status.success_time.is_some());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_receiver_that_fails_in_every_way_gets_the_same_event_until_it_takes_it(db: PgPool) {
    let hooks = Hooks::new(db).await;
    let (receiver, elsewhere) = (Receiver::plain().await, Receiver::plain().await);
    let (webhook, secret) = hooks.create(&receiver.url(), &[]).await.unwrap();
    let failures = [
        (Does::Answers(500), 500, "see the receiver's log"),
        (
            Does::Redirects(elsewhere.url()),
            302,
            "redirects are not followed",
        ),
        (Does::Answers(401), 401, "check the signature instead"),
        (Does::FloodsHeaders, 0, "the call failed"),
        (Does::Hangs, 0, "no answer in 5 seconds"),
    ];
    receiver.script(
        failures
            .iter()
            .map(|(does, _, _)| does.clone())
            .chain([Does::FloodsBody]),
    );
    hooks.happen().await;
    for (attempt, (_, status, text)) in (1..).zip(&failures) {
        hooks.turn().await;
        let delivery = hooks.deliveries(&webhook.id).await.remove(0);
        assert_eq!(delivery.state(), Delivery::Pending);
        assert_eq!(delivery.attempts, attempt);
        assert_eq!(delivery.answer.as_ref().unwrap().http_status, *status);
        assert!(problem(&delivery).contains(text), "{delivery:?}");
        let next = delivery.next_time.as_ref().unwrap().seconds;
        assert!(next > delivery.attempt_time.as_ref().unwrap().seconds);
    }
    hooks.turn().await;
    let delivery = hooks.deliveries(&webhook.id).await.remove(0);
    assert_eq!(delivery.state(), Delivery::Delivered);
    assert_eq!((delivery.attempts, problem(&delivery)), (6, ""));
    let calls = receiver.calls();
    assert_eq!(calls.len(), 6);
    for call in &calls {
        assert_eq!(verified(call, &secret), verified(&calls[0], &secret));
    }
    assert_eq!(elsewhere.calls(), []);
    hooks.turn().await;
    assert_eq!(receiver.calls().len(), 6, "nothing is sent again");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_worker_that_dies_before_it_has_recorded_sends_the_same_event_again(db: PgPool) {
    let hooks = Hooks::new(db.clone()).await;
    let receiver = Receiver::plain().await;
    let (webhook, _) = hooks.create(&receiver.url(), &[]).await.unwrap();
    let never = Arc::new(Notify::new());
    receiver.script([Does::Waits(Arc::clone(&never))]);
    hooks.happen().await;
    hooks.due().await;
    let mut dying = JoinSet::new();
    let worker = hooks.reconciler.clone();
    dying.spawn(async move { worker.turn().await });
    receiver.came().await;
    dying.shutdown().await;

    let outbox = Outbox::new(hooks.server.leasing.clone(), &loopback()).unwrap();
    let other = reconcile::webhooks(db.clone(), outbox);
    assert!(!other.turn().await.unwrap(), "the claim holds still");
    sqlx::query("update work set claimed_until = now() - interval '1 second'")
        .execute(&db)
        .await
        .unwrap();
    assert!(other.turn().await.unwrap());
    let sent = ids(&receiver);
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
    let delivery = hooks.deliveries(&webhook.id).await.remove(0);
    assert_eq!(delivery.state(), Delivery::Delivered);
    assert_eq!(delivery.attempts, 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn workers_at_once_send_each_event_once_and_one_at_a_time(db: PgPool) {
    let hooks = Hooks::new(db.clone()).await;
    let receiver = Receiver::plain().await;
    hooks.create(&receiver.url(), &[]).await.unwrap();
    hooks.happen().await;
    sqlx::query(
        "with more as (
             insert into account_event (id, account_id, topic, currency, occasion, message,
                                        create_time)
             select gen_random_uuid(), account_id, topic, currency,
                    occasion + make_interval(days => n), message, create_time
             from account_event, generate_series(1, 9) n returning id)
         insert into delivery (webhook_id, event_id, next_time, create_time)
         select webhook.id, more.id, now(), now() from webhook, more",
    )
    .execute(&db)
    .await
    .unwrap();
    hooks.due().await;
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let outbox = Outbox::new(hooks.server.leasing.clone(), &loopback()).unwrap();
        let worker = reconcile::webhooks(db.clone(), outbox);
        let db = db.clone();
        workers.spawn(async move {
            loop {
                let left: i64 =
                    sqlx::query_scalar("select count(*) from work where kind = 'webhook'")
                        .fetch_one(&db)
                        .await
                        .unwrap();
                if left == 0 {
                    break;
                }
                worker.turn().await.unwrap();
            }
        });
    }
    workers.join_all().await;
    let mut sent = ids(&receiver);
    assert_eq!((sent.len(), receiver.most()), (10, 1));
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 10);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_webhook_that_took_nothing_for_a_day_is_disabled_and_can_be_enabled(db: PgPool) {
    let hooks = Hooks::new(db.clone()).await;
    let receiver = Receiver::plain().await;
    let (webhook, _) = hooks.create(&receiver.url(), &[]).await.unwrap();
    receiver.script([Does::Answers(503), Does::Answers(503)]);
    hooks.happen().await;
    hooks.turn().await;
    let status = hooks.get(&webhook.id).await.unwrap().status.unwrap();
    assert_eq!(status.state(), Webhook::Enabled);
    sqlx::query("update delivery set create_time = create_time - interval '1 day'")
        .execute(&db)
        .await
        .unwrap();
    hooks.turn().await;
    let status = hooks.get(&webhook.id).await.unwrap().status.unwrap();
    assert_eq!(status.state(), Webhook::Disabled);
    let why = &status.status_reason;
    assert!(
        why.starts_with("it took nothing for 24 hours: it answered 503"),
        "{why}"
    );
    let delivery = hooks.deliveries(&webhook.id).await.remove(0);
    assert_eq!(delivery.state(), Delivery::Failed);

    // It is told nothing, until its owner wants it to be.
    hooks.house.pass(2400).await;
    hooks.house.turn().await;
    hooks.turn().await;
    assert_eq!(receiver.calls().len(), 2);
    let enable = pb::EnableWebhookRequest {
        request_id: id(),
        webhook_id: webhook.id.clone(),
        etag: String::new(),
    };
    let enabled = hooks.api.enable_webhook(hooks.request(enable)).await;
    let status = enabled.unwrap().into_inner().webhook.unwrap().status;
    let status = status.unwrap();
    assert_eq!(status.state(), Webhook::Enabled);
    assert_eq!(status.status_reason, "");
    hooks.house.pass(3600).await;
    hooks.house.turn().await;
    hooks.turn().await;
    assert_eq!(receiver.calls().len(), 3);
    receiver.script([Does::Answers(410)]);
    hooks.house.pass(61).await;
    hooks.house.turn().await;
    hooks.turn().await;
    let status = hooks.get(&webhook.id).await.unwrap().status.unwrap();
    assert_eq!(status.state(), Webhook::Disabled, "gone at the first word");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_name_that_leads_inside_is_refused_at_each_delivery(db: PgPool) {
    let hooks = Hooks::new(db.clone()).await;
    let receiver = Receiver::plain().await;
    let port = receiver.address.port();
    let by_name = format!("http://localhost:{port}/");
    let mut webhooks = Vec::new();
    for url in [receiver.url(), by_name] {
        webhooks.push(hooks.create(&url, &[]).await.unwrap().0.id);
    }
    hooks.happen().await;
    // The operator takes the permission back, or the name gets another address.
    let strict = WebhookConfig {
        private_networks: vec!["10.0.0.0/8".to_owned()],
        ..WebhookConfig::default()
    };
    let outbox = Outbox::new(hooks.server.leasing.clone(), &strict).unwrap();
    let worker = reconcile::webhooks(db, outbox);
    for _ in 0..2 {
        assert!(worker.turn().await.unwrap());
    }
    for webhook in &webhooks {
        let delivery = hooks.deliveries(webhook).await.remove(0);
        assert_eq!(delivery.attempts, 1);
        assert!(problem(&delivery).contains("is not public"), "{delivery:?}");
    }
    assert_eq!(receiver.calls(), []);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_receiver_is_called_by_tls_and_only_with_a_certificate_that_is_trusted(db: PgPool) {
    let (receiver, certificate) = Receiver::secure().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    let trusting = WebhookConfig {
        ca_file: file.path().to_string_lossy().into_owned(),
        ..loopback()
    };
    let hooks = Hooks::with(db.clone(), &trusting).await;
    let (webhook, secret) = hooks.create(&receiver.url(), &[]).await.unwrap();
    hooks.happen().await;
    let outbox = Outbox::new(hooks.server.leasing.clone(), &loopback()).unwrap();
    let wary = reconcile::webhooks(db, outbox);
    hooks.due().await;
    assert!(wary.turn().await.unwrap());
    let delivery = hooks.deliveries(&webhook.id).await.remove(0);
    assert!(problem(&delivery).contains("certificate"), "{delivery:?}");
    assert_eq!(receiver.calls(), []);
    hooks.turn().await;
    verified(&receiver.calls()[0], &secret);
}
