//! Webhooks through their API.

use crate::fixture::{fields, id, reason};
use crate::hooks::{Hooks, loopback, verified};
use crate::receiver::{Does, Receiver};
use berth_core::AccountId;
use berth_leasing::Outbox;
use berth_leasing::WebhookConfig;
use berth_leasing::api::Webhooks;
use berth_leasing::store::MIGRATIONS;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::webhook_service_server::WebhookService as _;
use berth_secrets::SecretPath;
use pb::webhook_status::State;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::{Code, Request};

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_webhook_is_made_once_however_often_it_is_asked_for_and_its_key_is_kept_in_vault(
    db: PgPool,
) {
    let hooks = Arc::new(Hooks::new(db.clone()).await);
    let message = pb::CreateWebhookRequest {
        request_id: id(),
        spec: Some(pb::WebhookSpec {
            url: "http://127.0.0.1:9/x".to_owned(),
            topics: vec!["lease.ended".to_owned(), "lease.ended".to_owned()],
        }),
    };
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let (here, message) = (Arc::clone(&hooks), message.clone());
        calls.spawn(async move {
            let answer = here.api.create_webhook(here.request(message)).await;
            answer.unwrap().into_inner()
        });
    }
    let mut answers = calls.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let secret = answers[0].secret.clone();
    assert!(
        secret.starts_with("whsec_") && secret.len() == 50,
        "{secret}"
    );
    let webhook = answers.remove(0).webhook.unwrap();
    assert_eq!(webhook.spec.as_ref().unwrap().topics, ["lease.ended"]);
    assert_eq!(webhook.status.as_ref().unwrap().state(), State::Enabled);
    assert_eq!(hooks.get(&webhook.id).await.unwrap(), webhook);

    // In no column of the database.
    let dump: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(webhook)::text from webhook union all select to_jsonb(request)::text
         from request",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert!(dump.iter().all(|row| !row.contains(&secret[6..])));

    // Deleted, in both places.
    let path = SecretPath::webhook(&webhook.id).unwrap();
    let vault = &hooks.server.leasing;
    assert!(vault.read_secret(&path).await.unwrap().is_some());
    let delete = pb::DeleteWebhookRequest {
        request_id: id(),
        webhook_id: webhook.id.clone(),
        etag: webhook.etag.clone(),
    };
    let first = hooks.request(delete.clone());
    hooks.api.delete_webhook(first).await.unwrap();
    hooks.turn().await;
    assert!(vault.read_secret(&path).await.unwrap().is_none());
    let gone = hooks.get(&webhook.id).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let again = hooks.request(delete);
    hooks.api.delete_webhook(again).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from webhook")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_test_is_sent_now_and_says_what_came_of_it(db: PgPool) {
    let hooks = Hooks::new(db).await;
    let receiver = Receiver::plain().await;
    let (webhook, secret) = hooks.create(&receiver.url(), &[]).await.unwrap();
    let test = || pb::TestWebhookRequest {
        request_id: id(),
        webhook_id: webhook.id.clone(),
    };
    let message = test();
    let event = format!("event-{}", message.request_id);
    let answer = hooks.api.test_webhook(hooks.request(message)).await;
    let answer = answer.unwrap().into_inner().answer.unwrap();
    assert_eq!((answer.http_status, answer.problem.as_str()), (204, ""));
    let body = verified(&receiver.calls()[0], &secret);
    assert_eq!(body["type"], "webhook.test");
    assert_eq!(body["id"], event.as_str());

    receiver.script([Does::Answers(404)]);
    let answer = hooks.api.test_webhook(hooks.request(test())).await;
    let answer = answer.unwrap().into_inner().answer.unwrap();
    assert_eq!(answer.http_status, 404);
    assert!(answer.problem.contains("correct the URL"), "{answer:?}");
    drop(receiver);
    let answer = hooks.api.test_webhook(hooks.request(test())).await;
    let answer = answer.unwrap().into_inner().answer.unwrap();
    assert_eq!(answer.http_status, 0);
    assert!(answer.problem.contains("refused"), "{answer:?}");
    assert_eq!(hooks.house.topics().await.len(), 0, "a test is no event");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_webhook_is_told_the_topics_that_it_names(db: PgPool) {
    let hooks = Hooks::new(db).await;
    let receiver = Receiver::plain().await;
    let url = receiver.url();
    let (some, _) = hooks.create(&url, &["lease.ended"]).await.unwrap();
    let (low, _) = hooks.create(&url, &["balance.low"]).await.unwrap();
    hooks.happen().await;
    assert_eq!(hooks.deliveries(&some.id).await.len(), 0);
    assert_eq!(hooks.deliveries(&low.id).await.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn wrong_webhooks_are_refused_by_field_and_others_are_not_found(db: PgPool) {
    let hooks = Hooks::new(db.clone()).await;
    let strict = WebhookConfig::default();
    let outbox = Outbox::new(hooks.server.leasing.clone(), &strict).unwrap();
    let api = Webhooks::new(db, outbox);
    let create = |url: &str, topic: &str| {
        hooks.request(pb::CreateWebhookRequest {
            request_id: id(),
            spec: Some(pb::WebhookSpec {
                url: url.to_owned(),
                topics: vec![topic.to_owned()],
            }),
        })
    };
    for url in [
        "",
        "http://8.8.8.8/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest/",
        "https://no.such.name.invalid/",
        "https://[::ffff:10.0.0.1]/",
    ] {
        let refused = api.create_webhook(create(url, "lease.ended")).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{url}: {refused}");
        assert_eq!(fields(&refused), ["spec.url"], "{url}");
    }
    let refused = api.create_webhook(create("", "lease.lost")).await;
    assert_eq!(
        fields(&refused.unwrap_err()),
        ["spec.url", "spec.topics[0]"]
    );

    let (own, _) = hooks.create("http://127.0.0.1:9/", &[]).await.unwrap();
    let stranger = |id: &str| {
        let mut request = Request::new(pb::GetWebhookRequest {
            webhook_id: id.to_owned(),
        });
        request.extensions_mut().insert(AccountId::generate());
        request
    };
    let refused = api.get_webhook(stranger(&own.id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_account_has_at_most_ten_webhooks_however_many_it_makes_at_once(db: PgPool) {
    let hooks = Arc::new(Hooks::with(db, &loopback()).await);
    let mut calls = JoinSet::new();
    for _ in 0..13 {
        let here = Arc::clone(&hooks);
        calls.spawn(async move { here.create("http://127.0.0.1:9/", &[]).await.err() });
    }
    let refused: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(refused.len(), 3);
    for refused in refused {
        assert_eq!(reason(&refused), "TOO_MANY_WEBHOOKS", "{refused}");
    }
}
