//! From Cedar's syntax tree of a condition to a [`Test`], where it has one of the forms that are known here.
//!
//! Not a parser and not a checker: the tree is Cedar's JSON form of a policy that Cedar has parsed and
//! validated, so the types of both sides agree. Invariants: `None` whenever anything is not recognised, and
//! the whole condition is then Cedar's; literals of addresses and times mean what Cedar says they mean, for
//! Cedar is asked when the policy is loaded.

use crate::condition::{Net, Number, Order, Part, Pattern, Test, Text, Texts};
use crate::names::{Numbers, Type};
use crate::schema::quote;
use cedar_policy::{
    Context, Entities, EntityId, EntityTypeName, EntityUid, EvalResult, Expression, Request, eval_expression,
};
use serde_json::{Map, Value};
use std::str::FromStr;

/// The conditions of a policy, from its JSON form: all `when`, and no `unless`.
pub(crate) fn lower(conditions: &Value, numbers: &Numbers) -> Option<Test> {
    let lower = Lower { numbers };
    let mut all: Option<Test> = None;
    // From the right, as Cedar joins them: the first that fails ends the evaluation either way.
    for clause in conditions.as_array()?.iter().rev() {
        let body = lower.test(clause.get("body")?)?;
        let test = match clause.get("kind")?.as_str()? {
            "when" => body,
            "unless" => Test::Not(Box::new(body)),
            _ => return None,
        };
        all = Some(match all {
            None => test,
            Some(after) => Test::And(Box::new((test, after))),
        });
    }
    all
}

/// A value that is compared.
enum Operand {
    Text(Text),
    Number(Number),
    Moment(Number),
    Texts(Texts),
    Peer,
    Net(Net),
    Part(Part),
    Entity(u32),
    /// A literal set.
    Set(Vec<Operand>),
    Test(Test),
}

struct Lower<'a> {
    numbers: &'a Numbers,
}

/// The only key of an object, and what it holds.
fn only(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object()?;
    let (key, value) = map.iter().next()?;
    (map.len() == 1).then_some((key.as_str(), value))
}

impl Lower<'_> {
    fn test(&self, value: &Value) -> Option<Test> {
        let (key, inside) = only(value)?;
        let both = || Some(Box::new((self.test(inside.get("left")?)?, self.test(inside.get("right")?)?)));
        let not = |test: Test| Test::Not(Box::new(test));
        Some(match key {
            "Value" => Test::Const(inside.as_bool()?),
            "!" => not(self.test(inside.get("arg")?)?),
            "&&" => Test::And(both()?),
            "||" => Test::Or(both()?),
            "if-then-else" => {
                let part = |name| self.test(inside.get(name)?);
                Test::If(Box::new((part("if")?, part("then")?, part("else")?)))
            }
            "." if self.variable(inside)? == "context" && inside.get("attr")? == "tls" => Test::Tls,
            "has" => self.has(inside)?,
            "==" => self.same(inside)?,
            "!=" => not(self.same(inside)?),
            "<" => self.compare(Order::Less, inside, false)?,
            "<=" => self.compare(Order::LessOrEqual, inside, false)?,
            ">" => self.compare(Order::Less, inside, true)?,
            ">=" => self.compare(Order::LessOrEqual, inside, true)?,
            "like" => {
                let Operand::Text(text) = self.operand(inside.get("left")?)? else { return None };
                Test::Like(text, pattern(inside.get("pattern")?)?)
            }
            "in" => {
                let Operand::Part(part) = self.operand(inside.get("left")?)? else { return None };
                Test::In(part, self.entities(inside.get("right")?)?)
            }
            "is" => self.is(inside)?,
            "contains" => self.contains(inside)?,
            "containsAny" | "containsAll" => {
                let Operand::Texts(texts) = self.operand(inside.get("left")?)? else { return None };
                let Operand::Set(set) = self.operand(inside.get("right")?)? else { return None };
                let set = literals(set)?;
                if key == "containsAny" {
                    Test::ContainsAny(texts, set)
                } else {
                    Test::ContainsAll(texts, set)
                }
            }
            "isEmpty" => {
                let Operand::Texts(texts) = self.operand(inside.get("arg")?)? else { return None };
                Test::Empty(texts)
            }
            "isInRange" => {
                let (peer, nets) = inside.as_array()?.split_first()?;
                let Operand::Peer = self.operand(peer)? else { return None };
                let net = |net| match self.operand(net)? {
                    Operand::Net(net) => Some(net),
                    _ => None,
                };
                Test::PeerIn(nets.iter().map(net).collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        })
    }

    /// The variable that an attribute is asked of.
    fn variable<'v>(&self, access: &'v Value) -> Option<&'v str> {
        let ("Var", name) = only(access.get("left")?)? else { return None };
        name.as_str()
    }

    fn has(&self, inside: &Value) -> Option<Test> {
        let name = inside.get("attr")?.as_str()?;
        let known = attribute(self.variable(inside)?, name)?;
        Some(if matches!(known, Operand::Peer) { Test::HasPeer } else { Test::Const(true) })
    }

    fn same(&self, inside: &Value) -> Option<Test> {
        let (left, right) = (self.operand(inside.get("left")?)?, self.operand(inside.get("right")?)?);
        Some(match (left, right) {
            (Operand::Text(a), Operand::Text(b)) => Test::SameText(a, b),
            (Operand::Number(a), Operand::Number(b)) | (Operand::Moment(a), Operand::Moment(b)) => {
                Test::Compare(Order::Equal, a, b)
            }
            (Operand::Part(part), Operand::Entity(number))
            | (Operand::Entity(number), Operand::Part(part)) => Test::Same(part, number),
            // An address is a net of all its bits, and no other net equals it.
            (Operand::Peer, Operand::Net(net)) | (Operand::Net(net), Operand::Peer)
                if net.prefix == if net.ip.is_ipv4() { 32 } else { 128 } =>
            {
                Test::PeerIn(vec![net])
            }
            (Operand::Test(a), Operand::Test(b)) => Test::Alike(Box::new((a, b))),
            _ => return None,
        })
    }

    fn compare(&self, order: Order, inside: &Value, turned: bool) -> Option<Test> {
        let (left, right) = (self.operand(inside.get("left")?)?, self.operand(inside.get("right")?)?);
        let (a, b) = match (left, right) {
            (Operand::Number(a), Operand::Number(b)) | (Operand::Moment(a), Operand::Moment(b)) => (a, b),
            _ => return None,
        };
        Some(if turned { Test::Compare(order, b, a) } else { Test::Compare(order, a, b) })
    }

    fn is(&self, inside: &Value) -> Option<Test> {
        let Operand::Part(part) = self.operand(inside.get("left")?)? else { return None };
        let is = Test::Is(part, Type::from_name(inside.get("entity_type")?.as_str()?)?);
        Some(match inside.get("in") {
            None => is,
            Some(above) => Test::And(Box::new((is, Test::In(part, self.entities(above)?)))),
        })
    }

    fn contains(&self, inside: &Value) -> Option<Test> {
        let (left, right) = (self.operand(inside.get("left")?)?, self.operand(inside.get("right")?)?);
        Some(match (left, right) {
            (Operand::Texts(texts), Operand::Text(text)) => Test::Contains(texts, text),
            (Operand::Set(set), Operand::Text(text)) => Test::OneOf(text, literals(set)?),
            (Operand::Set(set), Operand::Number(number)) => {
                let literal = |operand| match operand {
                    Operand::Number(Number::Literal(n)) => Some(n),
                    _ => None,
                };
                Test::OneOfNumbers(number, set.into_iter().map(literal).collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        })
    }

    /// The right side of `in`: an entity or a literal set of them.
    fn entities(&self, value: &Value) -> Option<Vec<u32>> {
        let number = |operand| match operand {
            Operand::Entity(number) => Some(number),
            _ => None,
        };
        match self.operand(value)? {
            Operand::Entity(number) => Some(vec![number]),
            Operand::Set(set) => set.into_iter().map(number).collect(),
            _ => None,
        }
    }

    fn operand(&self, value: &Value) -> Option<Operand> {
        let (key, inside) = only(value)?;
        Some(match key {
            "Value" => match inside {
                Value::String(text) => Operand::Text(Text::Literal(text.as_str().into())),
                Value::Number(number) => Operand::Number(Number::Literal(number.as_i64()?)),
                Value::Object(map) => Operand::Entity(self.entity(map)?),
                _ => return self.test(value).map(Operand::Test),
            },
            "Var" => Operand::Part(match inside.as_str()? {
                "principal" => Part::Principal,
                "action" => Part::Action,
                "resource" => Part::Resource,
                _ => return None,
            }),
            "." => attribute(self.variable(inside)?, inside.get("attr")?.as_str()?)?,
            "Set" => {
                let items = inside.as_array()?.iter().map(|item| self.operand(item));
                Operand::Set(items.collect::<Option<Vec<_>>>()?)
            }
            "ip" => Operand::Net(net(argument(inside)?)?),
            "datetime" => Operand::Moment(Number::Literal(moment(argument(inside)?)?)),
            _ => return self.test(value).map(Operand::Test),
        })
    }

    fn entity(&self, map: &Map<String, Value>) -> Option<u32> {
        let ("__entity", uid) = map.iter().next().map(|(key, value)| (key.as_str(), value))? else {
            return None;
        };
        let ty = Type::from_name(uid.get("type")?.as_str()?)?;
        self.numbers.get(ty, uid.get("id")?.as_str()?)
    }
}

/// An attribute of the schema.
fn attribute(variable: &str, name: &str) -> Option<Operand> {
    let text = |text| Some(Operand::Text(text));
    let number = |number| Some(Operand::Number(number));
    match (variable, name) {
        ("principal", "id") => text(Text::Id),
        ("principal", "verified") => number(Number::Verified),
        ("principal", "method") => text(Text::Method),
        ("principal", "groups") => Some(Operand::Texts(Texts::Groups)),
        ("principal", "iss") => text(Text::Iss),
        ("principal", "svc") => text(Text::Svc),
        ("resource", "service") => text(Text::Service),
        ("resource", "type") => text(Text::Type),
        ("resource", "namespace") => text(Text::Namespace),
        ("resource", "name") => text(Text::Name),
        ("context", "class") => text(Text::Class),
        ("context", "time") => Some(Operand::Moment(Number::Time)),
        ("context", "hour") => number(Number::Hour),
        ("context", "weekday") => number(Number::Weekday),
        ("context", "peer") => Some(Operand::Peer),
        ("context", "tls") => Some(Operand::Test(Test::Tls)),
        ("context", "route") => text(Text::Route),
        ("context", "purpose") => text(Text::Purpose),
        ("context", "delegation") => Some(Operand::Texts(Texts::Delegation)),
        ("context", "delegation_depth") => number(Number::Depth),
        ("context", "behalf") => text(Text::Behalf),
        ("context", "chain_verified") => number(Number::Chain),
        _ => None,
    }
}

/// Literal texts, sorted.
fn literals(set: Vec<Operand>) -> Option<Vec<Box<str>>> {
    let literal = |operand| match operand {
        Operand::Text(Text::Literal(text)) => Some(text),
        _ => None,
    };
    let mut texts = set.into_iter().map(literal).collect::<Option<Vec<_>>>()?;
    texts.sort_unstable();
    Some(texts)
}

fn pattern(parts: &Value) -> Option<Pattern> {
    let mut texts = vec![String::new()];
    for part in parts.as_array()? {
        match part {
            Value::String(word) if word == "Wildcard" => texts.push(String::new()),
            part => texts.last_mut()?.push_str(part.get("Literal")?.as_str()?),
        }
    }
    let last = if texts.len() > 1 { texts.pop() } else { None };
    let mut texts = texts.into_iter().map(String::into_boxed_str);
    let first = texts.next()?;
    // Two asterisks in a row are one.
    let middle = texts.filter(|text| !text.is_empty()).collect();
    Some(Pattern { first, middle, last: last.map(String::into_boxed_str) })
}

/// The one literal text that a function is called with.
fn argument(arguments: &Value) -> Option<&str> {
    let [argument] = arguments.as_array()?.as_slice() else { return None };
    let ("Value", text) = only(argument)? else { return None };
    text.as_str()
}

fn net(text: &str) -> Option<Net> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip = ip.parse::<std::net::IpAddr>().ok()?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => whole,
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= whole)?,
    };
    let same = format!("ip({}) == ip(\"{ip}/{prefix}\")", quote(text));
    matches!(ask_cedar(&same)?, EvalResult::Bool(true)).then_some(Net { ip, prefix })
}

fn moment(text: &str) -> Option<i64> {
    let since = format!("datetime({}).durationSince(datetime(\"1970-01-01\")).toMilliseconds()", quote(text));
    match ask_cedar(&since)? {
        EvalResult::Long(millis) => Some(millis),
        _ => None,
    }
}

/// The value of an expression without variables.
fn ask_cedar(expression: &str) -> Option<EvalResult> {
    let name = EntityTypeName::from_str(Type::Resource.name()).ok()?;
    let nobody = EntityUid::from_type_name_and_id(name, EntityId::new(""));
    let request = Request::new(nobody.clone(), nobody.clone(), nobody, Context::empty(), None).ok()?;
    eval_expression(&request, &Entities::empty(), &Expression::from_str(expression).ok()?).ok()
}
