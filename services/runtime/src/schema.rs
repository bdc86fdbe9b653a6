//! What `proto/` says beyond messages: who may call a method, and which
//! fields are secret.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, ReflectMessage as _, Value,
};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// How long the gateway waits for an answer where the method says nothing.
const ANSWER: Duration = Duration::from_secs(30);

/// Every message and service of `proto/`, with options.
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The bytes are made by our own build; an empty pool refuses every call.
    DescriptorPool::decode(berth_proto::DESCRIPTORS).unwrap_or_default()
});

/// Who may call one method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Permission that an account needs, such as `node.write`; empty for
    /// methods that only services call.
    pub permission: String,
    /// Roles whose certificate may call the method.
    pub callers: Vec<String>,
    /// Whether the gateway writes an audit row for it.
    pub mutates: bool,
    /// Longest time that the gateway waits for an answer, or for the first of a
    /// stream.
    pub answer_within: Duration,
}

/// Access by path, such as `/berth.leasing.v1.LeasingService/GetLease`.
pub static ACCESS: LazyLock<BTreeMap<String, Access>> = LazyLock::new(|| {
    let Some(option) = POOL.get_extension_by_name("berth.api.v1.access") else {
        return BTreeMap::new();
    };
    POOL.services()
        .flat_map(|service| {
            let name = service.full_name().to_owned();
            service
                .methods()
                .map(move |method| (format!("/{name}/{}", method.name()), method))
                .collect::<Vec<_>>()
        })
        .filter_map(|(path, method)| {
            let options = method.options();
            options
                .has_extension(&option)
                .then(|| access(&options, &option))
                .flatten()
                .map(|access| (path, access))
        })
        .collect()
});

fn access(options: &DynamicMessage, option: &ExtensionDescriptor) -> Option<Access> {
    let value = options.get_extension(option);
    let message = value.as_message()?;
    let field = |name: &str| message.get_field_by_name(name);
    Some(Access {
        permission: field("permission")?.as_str()?.to_owned(),
        callers: field("callers")?
            .as_list()?
            .iter()
            .filter_map(|caller| caller.as_str().map(str::to_owned))
            .collect(),
        mutates: field("mutates")?.as_bool()?,
        answer_within: match field("answer_seconds")?.as_u32()? {
            0 => ANSWER,
            seconds => Duration::from_secs(seconds.into()),
        },
    })
}

/// The message without the values of fields marked `(berth.api.v1.secret)`,
/// encoded the same way every time.
#[must_use]
pub fn encode_without_secrets<M: prost::Message + prost::Name>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let Some(descriptor) = POOL.get_message_by_name(&M::full_name()) else {
        return bytes;
    };
    let Some(option) = POOL.get_extension_by_name("berth.api.v1.secret") else {
        return bytes;
    };
    match DynamicMessage::decode(descriptor, bytes.as_slice()) {
        Ok(mut message) => {
            clear_secrets(&mut message, &option);
            prost::Message::encode_to_vec(&message)
        }
        Err(_) => bytes,
    }
}

fn clear_secrets(message: &mut DynamicMessage, option: &ExtensionDescriptor) {
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        let options = field.options();
        if options.has_extension(option) && options.get_extension(option).as_bool() == Some(true) {
            message.clear_field(&field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                Value::Message(inner) => clear_secrets(inner, option),
                Value::List(list) => list
                    .iter_mut()
                    .filter_map(Value::as_message_mut)
                    .for_each(|inner| clear_secrets(inner, option)),
                Value::Map(map) => map
                    .values_mut()
                    .filter_map(Value::as_message_mut)
                    .for_each(|inner| clear_secrets(inner, option)),
                Value::Bool(_)
                | Value::I32(_)
                | Value::I64(_)
                | Value::U32(_)
                | Value::U64(_)
                | Value::F32(_)
                | Value::F64(_)
                | Value::String(_)
                | Value::Bytes(_)
                | Value::EnumNumber(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_says_who_may_call_it() {
        for service in POOL.services() {
            if !service.full_name().starts_with("berth.") {
                continue;
            }
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let access = ACCESS.get(&path).expect(&path);
                assert!(!access.callers.is_empty(), "{path} has no callers");
                assert_eq!(
                    access.callers.iter().any(|c| c == "gateway"),
                    !access.permission.is_empty(),
                    "{path}: what the gateway may call needs a permission, and only that"
                );
            }
        }
        assert!(ACCESS.len() > 30);
    }

    #[test]
    fn only_what_takes_long_is_waited_for_longer_than_half_a_minute() {
        let longer: Vec<_> = ACCESS
            .iter()
            .filter(|(_, access)| access.answer_within != Duration::from_secs(30))
            .map(|(path, access)| (path.as_str(), access.answer_within.as_secs()))
            .collect();
        let import = "/berth.signing.v1.SigningService/ImportKeys";
        assert_eq!(longer, [(import, 300)]);
    }
}
