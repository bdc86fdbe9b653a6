//! Suppliers.

use crate::fixture::{Yard, fields, id, reason};
use berth_core::AccountId;
use berth_inventory::store::MIGRATIONS;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::inventory_service_server::InventoryService as _;
use sqlx::PgPool;
use tonic::{Code, Request};

fn create(name: &str) -> pb::CreateSupplierRequest {
    pb::CreateSupplierRequest {
        request_id: id(),
        name: name.to_owned(),
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_supplier_is_found_by_identifier_and_by_name_in_its_account_only(db: PgPool) {
    let yard = Yard::new(db).await;
    let other = Yard::of(&yard.api).await;
    for key in [yard.supplier.as_str(), "hetz"] {
        let message = pb::GetSupplierRequest {
            supplier_id: key.to_owned(),
        };
        let answer = yard.api.get_supplier(yard.request(message)).await.unwrap();
        assert_eq!(answer.into_inner().supplier.unwrap().id, yard.supplier);
    }
    let message = pb::GetSupplierRequest {
        supplier_id: yard.supplier.clone(),
    };
    let refused = yard.api.get_supplier(other.request(message)).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_name_is_taken_once_in_an_account_and_free_in_another(db: PgPool) {
    let yard = Yard::new(db).await;
    let refused = yard.api.create_supplier(yard.request(create("hetz"))).await;
    assert_eq!(reason(&refused.unwrap_err()), "NAME_TAKEN");
    Yard::of(&yard.api).await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_repeated_request_makes_one_supplier(db: PgPool) {
    let yard = Yard::new(db).await;
    let message = create("ovh");
    let first = yard
        .api
        .create_supplier(yard.request(message.clone()))
        .await;
    let again = yard.api.create_supplier(yard.request(message)).await;
    assert_eq!(first.unwrap().into_inner(), again.unwrap().into_inner());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn suppliers_are_listed_newest_first_page_by_page(db: PgPool) {
    let yard = Yard::new(db).await;
    for name in ["b", "c"] {
        yard.api
            .create_supplier(yard.request(create(name)))
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListSuppliersRequest {
            page_size: 2,
            page_token,
        };
        let answer = yard.api.list_suppliers(yard.request(message)).await;
        let answer = answer.unwrap().into_inner();
        names.extend(answer.suppliers.into_iter().map(|supplier| supplier.name));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["c", "b", "hetz"]);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_nameless_supplier_and_a_nameless_caller_are_refused(db: PgPool) {
    let yard = Yard::new(db).await;
    let refused = yard.api.create_supplier(yard.request(create(""))).await;
    assert_eq!(fields(&refused.unwrap_err()), ["name"]);
    let refused = yard.api.create_supplier(Request::new(create("x"))).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let mut request = Request::new(create("x"));
    request.extensions_mut().insert(AccountId::generate());
    assert!(yard.api.create_supplier(request).await.is_ok());
}
