//! Holds the compiled gRPC contract against `grpc-v2.tsv`, the list of all its facts.
//!
//! Both sides are written as lines of that list, so a difference reads as the line that is missing
//! or should not be there.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

const LISTED: &str = include_str!("grpc-v2.tsv");
const PACKAGE: &str = "apache.rocketmq.v2";

#[test]
fn the_compiled_contract_is_the_listed_one() {
    let differences = differences(&listed_facts(LISTED), &compiled_facts());
    assert!(differences.is_empty(), "{} differences from grpc-v2.tsv:\n{}", differences.len(), differences.join("\n"));
}

/// A comparison that never fails proves nothing: each kind of fact, altered or left out, must show.
#[test]
fn one_altered_fact_shows() {
    let compiled = compiled_facts();
    for (fact, altered) in [
        // A number, a name, a type, four labels.
        ("field\tAddress\t2\tport\tint32\tsingle", "field\tAddress\t3\tport\tint32\tsingle"),
        ("field\tAddress\t1\thost\tstring\tsingle", "field\tAddress\t1\thosts\tstring\tsingle"),
        ("field\tStatus\t1\tcode\tCode\tsingle", "field\tStatus\t1\tcode\tint32\tsingle"),
        ("field\tMetric\t1\ton\tbool\tsingle", "field\tMetric\t1\ton\tbool\toptional"),
        ("field\tMetric\t2\tendpoints\tEndpoints\toptional", "field\tMetric\t2\tendpoints\tEndpoints\tsingle"),
        (
            "field\tSendMessageRequest\t1\tmessages\tMessage\trepeated",
            "field\tSendMessageRequest\t1\tmessages\tMessage\tsingle",
        ),
        (
            "field\tOffsetOption\t2\toffset\tint64\toneof:offset_type",
            "field\tOffsetOption\t2\toffset\tint64\toneof:offset",
        ),
        // A map's value, a nested enum's value, a stream's direction.
        (
            "field\tConsumerRunningInfo\t2\tsubscriptions\tmap<string,apache.rocketmq.v2.FilterExpression>\tsingle",
            "field\tConsumerRunningInfo\t2\tsubscriptions\tmap<string,string>\tsingle",
        ),
        ("value\tOffsetOption.Policy\t2\tMAX", "value\tPolicy\t2\tMAX"),
        (
            "rpc\tMessagingService\tTelemetry\tTelemetryCommand\tTelemetryCommand\tboth",
            "rpc\tMessagingService\tTelemetry\tTelemetryCommand\tTelemetryCommand\tserver",
        ),
    ] {
        assert!(LISTED.contains(fact), "not in the list: {fact}");
        let listed = listed_facts(&LISTED.replace(fact, altered));
        let expected = [format!("- {altered}"), format!("+ {fact}")];
        assert_eq!(differences(&listed, &compiled), expected);

        let listed = listed_facts(&LISTED.replace(fact, ""));
        assert_eq!(differences(&listed, &compiled), [format!("+ {fact}")]);
    }
}

/// A message without fields has no line of its own, and must be missed all the same.
#[test]
fn a_message_without_fields_shows() {
    let listed = listed_facts(LISTED);
    let empty = "message\tGetProxyRuntimeStatsRequest".to_owned();
    assert!(listed.contains(&empty));
    let mut compiled = compiled_facts();
    assert!(compiled.remove(&empty));
    assert!(compiled.insert("message\tStray".to_owned()));
    let expected = [format!("- {empty}"), "+ message\tStray".to_owned()];
    assert_eq!(differences(&listed, &compiled), expected);
}

/// `-` is listed but not compiled, `+` is compiled but not listed.
fn differences(listed: &BTreeSet<String>, compiled: &BTreeSet<String>) -> Vec<String> {
    let missing = listed.difference(compiled).map(|fact| format!("- {fact}"));
    let extra = compiled.difference(listed).map(|fact| format!("+ {fact}"));
    missing.chain(extra).collect()
}

/// The lines of the list, and a `message` for each name that has fields or that an rpc mentions.
fn listed_facts(list: &str) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('\t').collect();
        let messages: &[&str] = match parts[..] {
            ["field", message, _number, _name, _type, _label] => &[message],
            ["value", _enum, _number, _name] => &[],
            ["rpc", _service, _name, request, response, _streaming] => &[request, response],
            _ => panic!("not a fact: {line:?}"),
        };
        facts.extend(messages.iter().map(|message| format!("message\t{message}")));
        assert!(facts.insert(line.to_owned()), "listed twice: {line:?}");
    }
    facts
}

/// What the build made of the .proto files, in the list's own words.
fn compiled_facts() -> BTreeSet<String> {
    let set =
        FileDescriptorSet::decode(gantry_proto::grpc::FILE_DESCRIPTOR_SET).expect("the build writes a descriptor set");
    let mut facts = BTreeSet::new();
    for file in set.file.iter().filter(|file| !file.package().starts_with("google.")) {
        assert_eq!((file.package(), file.syntax()), (PACKAGE, "proto3"), "{}", file.name());
        assert!(file.extension.is_empty(), "{}: extensions are not listed", file.name());
        for message in &file.message_type {
            message_facts(message, message.name(), &mut facts);
        }
        for values in &file.enum_type {
            enum_facts(values, values.name(), &mut facts);
        }
        for service in &file.service {
            rpc_facts(service, &mut facts);
        }
    }
    facts
}

fn message_facts(message: &DescriptorProto, path: &str, facts: &mut BTreeSet<String>) {
    facts.insert(format!("message\t{path}"));
    for field in &message.field {
        let (type_name, label) = match map_entry(message, path, field) {
            Some(entry) => {
                let [key, value] = &entry.field[..] else {
                    panic!("{path}: a map entry is a key and a value");
                };
                // The list spells a map's types out in full, and calls the map itself single.
                (format!("map<{},{}>", full_type(key), full_type(value)), "single".to_owned())
            }
            None => (in_package(&full_type(field)).to_owned(), label(message, field)),
        };
        let (number, name) = (field.number(), field.name());
        facts.insert(format!("field\t{path}\t{number}\t{name}\t{type_name}\t{label}"));
    }
    for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        message_facts(nested, &format!("{path}.{}", nested.name()), facts);
    }
    for nested in &message.enum_type {
        enum_facts(nested, &format!("{path}.{}", nested.name()), facts);
    }
}

fn enum_facts(values: &EnumDescriptorProto, path: &str, facts: &mut BTreeSet<String>) {
    for value in &values.value {
        facts.insert(format!("value\t{path}\t{}\t{}", value.number(), value.name()));
    }
}

fn rpc_facts(service: &ServiceDescriptorProto, facts: &mut BTreeSet<String>) {
    for rpc in &service.method {
        let streaming = match (rpc.client_streaming(), rpc.server_streaming()) {
            (false, false) => "none",
            (false, true) => "server",
            (true, false) => "client",
            (true, true) => "both",
        };
        let request = in_package(rpc.input_type().trim_start_matches('.'));
        let response = in_package(rpc.output_type().trim_start_matches('.'));
        let (service, name) = (service.name(), rpc.name());
        facts.insert(format!("rpc\t{service}\t{name}\t{request}\t{response}\t{streaming}"));
    }
}

/// A map is compiled to a repeated message, nested beside the field.
fn map_entry<'a>(
    message: &'a DescriptorProto,
    path: &str,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    message
        .nested_type
        .iter()
        .find(|nested| is_map_entry(nested) && field.type_name() == format!(".{PACKAGE}.{path}.{}", nested.name()))
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn label(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    match (field.label(), field.oneof_index) {
        (Label::Repeated, _) => "repeated".to_owned(),
        // proto3's `optional` is compiled to a oneof of its own.
        _ if field.proto3_optional() => "optional".to_owned(),
        (Label::Optional, Some(at)) => {
            let at = usize::try_from(at).expect("an index is not negative");
            format!("oneof:{}", message.oneof_decl[at].name())
        }
        (Label::Optional, None) => "single".to_owned(),
        (Label::Required, _) => panic!("{}: proto3 has no required fields", field.name()),
    }
}

fn full_type(field: &FieldDescriptorProto) -> String {
    let scalar = match field.r#type() {
        Type::Message | Type::Enum => return field.type_name().trim_start_matches('.').to_owned(),
        Type::Double => "double",
        Type::Float => "float",
        Type::Int64 => "int64",
        Type::Uint64 => "uint64",
        Type::Int32 => "int32",
        Type::Fixed64 => "fixed64",
        Type::Fixed32 => "fixed32",
        Type::Bool => "bool",
        Type::String => "string",
        Type::Group => "group",
        Type::Bytes => "bytes",
        Type::Uint32 => "uint32",
        Type::Sfixed32 => "sfixed32",
        Type::Sfixed64 => "sfixed64",
        Type::Sint32 => "sint32",
        Type::Sint64 => "sint64",
    };
    scalar.to_owned()
}

/// The list leaves out the package of its own types.
fn in_package(full: &str) -> &str {
    full.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full)
}
