//! What every rpc has, read from the compiled descriptors.
//!
//! Names, comments and compatibility are buf's.

use crate::none;
use crate::tree::files;
use berth_runtime::schema::{ACCESS, Access, POOL};
use prost_reflect::MethodDescriptor;

const MAX_LINES: usize = 300;

fn check(method: &MethodDescriptor, access: Option<&Access>) -> Vec<String> {
    let name = method.full_name();
    let (input, output) = (method.input(), method.output());
    let lacks = |fields: &'static [&'static str]| {
        fields
            .iter()
            .filter(|field| input.get_field_by_name(field).is_none())
            .copied()
            .collect::<Vec<_>>()
    };
    let Some(access) = access else {
        return vec![format!(
            "{name}: add `option (berth.api.v1.access)`: who may call it."
        )];
    };
    let mut wrong = Vec::new();
    if access.callers.is_empty() {
        wrong.push(format!(
            "{name}: name in `callers` the services that may call it."
        ));
    }
    // Services among themselves repeat by the ids of what they act on.
    if access.permission.is_empty() {
        return wrong;
    }
    if access.mutates {
        for field in lacks(&["request_id"]) {
            wrong.push(format!(
                "{name}: give {} `{field}`: a repeat has one effect.",
                input.name()
            ));
        }
    }
    if method.name().starts_with("List") {
        for field in lacks(&["page_size", "page_token"]) {
            wrong.push(format!(
                "{name}: give {} `{field}`: lists have pages.",
                input.name()
            ));
        }
        if output.get_field_by_name("next_page_token").is_none() {
            wrong.push(format!("{name}: give {} `next_page_token`.", output.name()));
        }
    }
    wrong
}

fn methods() -> impl Iterator<Item = MethodDescriptor> {
    POOL.services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
}

fn access(method: &MethodDescriptor) -> Option<&'static Access> {
    let service = method.parent_service().full_name().to_owned();
    ACCESS.get(&format!("/{service}/{}", method.name()))
}

#[test]
fn every_rpc_says_who_may_call_it_and_can_be_repeated() {
    assert!(methods().count() > 0, "the descriptors hold no rpc");
    none(
        &methods()
            .flat_map(|m| check(&m, access(&m)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn proto_files_stay_readable() {
    let wrong: Vec<_> = files(".proto")
        .iter()
        .filter(|f| f.text.lines().count() > MAX_LINES)
        .map(|f| {
            format!(
                "{}: more than {MAX_LINES} lines: split it at a resource.",
                f.path
            )
        })
        .collect();
    none(&wrong);
}

#[test]
fn an_rpc_out_of_shape_is_found() {
    let method = |name: &str| methods().find(|m| m.name() == name).unwrap();
    let open = Access {
        permission: "node.read".to_owned(),
        callers: vec!["gateway".to_owned()],
        ..Access::default()
    };
    let get = method("GetNode");
    assert_eq!(check(&get, None).len(), 1);
    assert_eq!(check(&get, Some(&Access::default())).len(), 1);
    let mutating = Access {
        mutates: true,
        ..open.clone()
    };
    assert_eq!(check(&get, Some(&mutating)).len(), 1);
    assert_eq!(check(&get, Some(&open)).len(), 0);
    // One that only services call, and therefore has no pages.
    assert_eq!(check(&method("ListMachineWork"), Some(&open)).len(), 2);
}
