//! Definitions: CREATE, ALTER, DROP, TRUNCATE.
//!
//! Invariant: an expression that the catalog keeps was bound before it is kept, and is kept as the
//! parser prints it.

use super::answer::Answer;
use super::bind::{absent, column_type, folded, parts};
use super::cast::{self, Strength};
use super::constraint;
use super::error::{Result, SqlError};
use super::run::explained;
use super::session::Session;
use super::types::of_column;
use crate::catalog::{
    Action, Check, Column, ForeignKey, Index, IndexPart, IndexState, Relation, Sequence, Table,
    Timing,
};
use crate::key::Direction;
use crate::transaction::{KeyRange, Transaction};
use crate::types::{DataType, Value};
use sqlparser::ast;
use std::sync::Arc;

fn done(tag: &str) -> Result<Answer> {
    Ok(Answer::Command(tag.to_owned()))
}

/// A constraint of a table before its names are settled.
struct Unique {
    name: Option<String>,
    columns: Vec<usize>,
    timing: Timing,
    nulls_not_distinct: bool,
}

/// A table on its way.
struct Draft {
    table: Table,
    uniques: Vec<Unique>,
    sequences: Vec<Sequence>,
    primary: bool,
}

fn timing(given: &Option<ast::ConstraintCharacteristics>) -> Result<Timing> {
    let Some(ast::ConstraintCharacteristics {
        deferrable,
        initially,
        enforced,
    }) = given
    else {
        return Ok(Timing::Immediate);
    };
    absent(enforced.is_some(), "ENFORCED")?;
    Ok(match (deferrable, initially) {
        (_, Some(ast::DeferrableInitial::Deferred)) => Timing::Deferred,
        (Some(true), _) => Timing::Deferrable,
        _ => Timing::Immediate,
    })
}

fn plain_key(columns: &[ast::IndexColumn]) -> Result<Vec<String>> {
    let one = |column: &ast::IndexColumn| {
        let ast::IndexColumn {
            column,
            operator_class,
        } = column;
        absent(
            operator_class.is_some(),
            "an operator class in a constraint",
        )?;
        match &column.expr {
            ast::Expr::Identifier(ident) => Ok(folded(ident)),
            _ => Err(SqlError::syntax("a constraint names columns")),
        }
    };
    columns.iter().map(one).collect()
}

fn action(given: &Option<ast::ReferentialAction>) -> Result<Action> {
    Ok(match given {
        None | Some(ast::ReferentialAction::NoAction) => Action::NoAction,
        Some(ast::ReferentialAction::Restrict) => Action::Restrict,
        Some(ast::ReferentialAction::Cascade) => Action::Cascade,
        Some(ast::ReferentialAction::SetNull) => Action::SetNull,
        Some(ast::ReferentialAction::SetDefault) => {
            return Err(SqlError::unsupported("ON DELETE/UPDATE SET DEFAULT"));
        }
    })
}

fn hidden_column() -> Column {
    Column {
        name: "cairn.row".to_owned(),
        data_type: DataType::BigInt,
        not_null: true,
        default: None,
        missing: None,
        dropped: false,
    }
}

fn place(table: &Table, name: &str) -> Result<usize> {
    let found = table
        .column(name)
        .filter(|place| !(table.hidden_key && place + 1 == table.columns.len()));
    found.ok_or_else(|| {
        SqlError::new(
            "42703",
            format!(
                "column \"{name}\" of relation \"{}\" does not exist",
                table.name
            ),
        )
    })
}

/// `serial` and its sisters.
fn serial(data_type: &ast::DataType) -> Option<DataType> {
    let ast::DataType::Custom(name, _) = data_type else {
        return None;
    };
    match parts(name).ok()?.last()?.as_str() {
        "serial" | "serial4" => Some(DataType::Integer),
        "bigserial" | "serial8" => Some(DataType::BigInt),
        "smallserial" | "serial2" => Some(DataType::SmallInt),
        _ => None,
    }
}

fn number(expr: &ast::Expr) -> Result<i64> {
    expr.to_string()
        .replace(' ', "")
        .parse()
        .map_err(|_| SqlError::syntax(format!("not an integer: {expr}")))
}

fn sequence_options(sequence: &mut Sequence, options: &[ast::SequenceOptions]) -> Result<()> {
    let (mut start, mut min, mut max) = (None, None, None);
    for option in options {
        match option {
            ast::SequenceOptions::IncrementBy(by, _) => sequence.increment = number(by)?,
            ast::SequenceOptions::MinValue(given) => {
                min = given.as_ref().map(number).transpose()?
            }
            ast::SequenceOptions::MaxValue(given) => {
                max = given.as_ref().map(number).transpose()?
            }
            ast::SequenceOptions::StartWith(from, _) => start = Some(number(from)?),
            ast::SequenceOptions::Cache(_) => {}
            ast::SequenceOptions::Cycle(no) => sequence.cycle = !*no,
        }
    }
    if sequence.increment == 0 {
        return Err(SqlError::new("22023", "INCREMENT must not be zero"));
    }
    if sequence.increment < 0 {
        (sequence.min, sequence.max) = (i64::MIN, -1);
    }
    sequence.min = min.unwrap_or(sequence.min);
    sequence.max = max.unwrap_or(sequence.max);
    if sequence.min >= sequence.max {
        return Err(SqlError::new(
            "22023",
            format!(
                "MINVALUE ({}) must be less than MAXVALUE ({})",
                sequence.min, sequence.max
            ),
        ));
    }
    sequence.start = start.unwrap_or(if sequence.increment > 0 {
        sequence.min
    } else {
        sequence.max
    });
    match (sequence.min..=sequence.max).contains(&sequence.start) {
        true => Ok(()),
        false => Err(SqlError::new(
            "22023",
            format!(
                "START value ({}) is outside MINVALUE and MAXVALUE",
                sequence.start
            ),
        )),
    }
}

fn new_sequence(t: &Transaction, schema: &str, name: String, data_type: DataType) -> Sequence {
    let max = match data_type {
        DataType::SmallInt => i16::MAX.into(),
        DataType::Integer => i32::MAX.into(),
        _ => i64::MAX,
    };
    Sequence {
        id: t.new_object_id(),
        schema: schema.to_owned(),
        name,
        start: 1,
        increment: 1,
        min: 1,
        max,
        cycle: false,
        owned_by: None,
    }
}

fn options(given: &[ast::SqlOption]) -> Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|option| match option {
            ast::SqlOption::KeyValue { key, value } => {
                let (key, value) = (folded(key), value.to_string());
                if key != "fillfactor" && !key.starts_with("autovacuum") {
                    return Err(SqlError::new(
                        "22023",
                        format!("unrecognized parameter \"{key}\""),
                    ));
                }
                let fits = key != "fillfactor"
                    || value
                        .parse::<u32>()
                        .is_ok_and(|value| (10..=100).contains(&value));
                match fits {
                    true => Ok((key, value)),
                    false => Err(SqlError::new(
                        "22023",
                        format!("value {value} out of bounds for option \"fillfactor\""),
                    )
                    .detail("Valid values are between \"10\" and \"100\".")),
                }
            }
            other => Err(SqlError::unsupported(format!("table option {other}"))),
        })
        .collect()
}

impl Session {
    pub(super) async fn define(
        &mut self,
        t: &mut Transaction,
        tree: &ast::Statement,
        text: &str,
    ) -> Result<Answer> {
        if self.began.read_only {
            return Err(crate::transaction::Error::ReadOnly("DDL").into());
        }
        let _ = text;
        use ast::Statement as S;
        match tree {
            S::CreateTable(create) => self.create_table(t, create).await,
            S::CreateIndex(create) => self.create_index(t, create).await,
            S::AlterTable(alter) => self.alter_table(t, alter).await,
            S::AlterIndex {
                name: _,
                operation: _,
            } => Err(SqlError::unsupported("ALTER INDEX")),
            S::CreateSchema {
                schema_name,
                if_not_exists,
                with,
                options,
                default_collate_spec,
                clone,
            } => {
                absent(
                    with.is_some()
                        || options.is_some()
                        || default_collate_spec.is_some()
                        || clone.is_some(),
                    "an option of CREATE SCHEMA",
                )?;
                let ast::SchemaName::Simple(name) = schema_name else {
                    return Err(SqlError::unsupported("CREATE SCHEMA AUTHORIZATION"));
                };
                let name = parts(name)?.pop().unwrap_or_default();
                if name.starts_with("pg_") {
                    return Err(SqlError::new(
                        "42939",
                        format!("unacceptable schema name \"{name}\""),
                    ));
                }
                let reserved = self
                    .start
                    .environment
                    .virtual_tables
                    .iter()
                    .any(|tables| tables.schema() == name);
                let exists = name == "public" || reserved || t.schema()?.schemas().contains(&name);
                if exists && *if_not_exists {
                    self.notice(
                        "NOTICE",
                        "42P06",
                        format!("schema \"{name}\" already exists, skipping"),
                    );
                    return done("CREATE SCHEMA");
                }
                if exists {
                    return Err(SqlError::new(
                        "42P06",
                        format!("schema \"{name}\" already exists"),
                    ));
                }
                t.create_schema(&name).await?;
                done("CREATE SCHEMA")
            }
            S::CreateSequence {
                temporary,
                if_not_exists,
                name,
                data_type,
                sequence_options: given,
                owned_by,
            } => {
                absent(*temporary, "a temporary sequence")?;
                absent(owned_by.is_some(), "OWNED BY")?;
                let (schema, name) = self.creating(t, name)?;
                if *if_not_exists && t.schema()?.has_name(&schema, &name) {
                    self.notice(
                        "NOTICE",
                        "42P07",
                        format!("relation \"{name}\" already exists, skipping"),
                    );
                    return done("CREATE SEQUENCE");
                }
                let data_type = data_type
                    .as_ref()
                    .map(column_type)
                    .transpose()?
                    .unwrap_or(DataType::BigInt);
                let mut sequence = new_sequence(t, &schema, name, data_type);
                sequence_options(&mut sequence, given)?;
                t.put_sequence(sequence).await?;
                done("CREATE SEQUENCE")
            }
            S::Drop {
                object_type,
                if_exists,
                names,
                cascade,
                restrict: _,
                purge,
                temporary,
                table,
            } => {
                absent(*purge || *temporary || table.is_some(), "this form of DROP")?;
                self.drop_objects(t, *object_type, *if_exists, names, *cascade)
                    .await
            }
            S::Truncate(truncate) => self.truncate(t, truncate).await,
            other => {
                let shown = other.to_string();
                let mut words = shown
                    .split_whitespace()
                    .take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()));
                let name: Vec<_> = words.by_ref().take(3).collect();
                Err(SqlError::unsupported(if name.is_empty() {
                    "this statement".to_owned()
                } else {
                    name.join(" ")
                }))
            }
        }
    }

    /// Schema and name of something that is created.
    fn creating(&self, t: &mut Transaction, name: &ast::ObjectName) -> Result<(String, String)> {
        let names = parts(name)?;
        let schema = t.schema()?;
        match names.as_slice() {
            [name] => Ok((self.creation_schema(&schema)?, name.clone())),
            [space, name] => {
                let outside = self
                    .start
                    .environment
                    .virtual_tables
                    .iter()
                    .any(|tables| tables.schema() == space);
                if outside || space == "pg_catalog" || space == "information_schema" {
                    return Err(SqlError::new(
                        "42501",
                        format!("permission denied for schema {space}"),
                    ));
                }
                match space == "public" || schema.schemas().contains(space) {
                    true => Ok((space.clone(), name.clone())),
                    false => Err(SqlError::new(
                        "3F000",
                        format!("schema \"{space}\" does not exist"),
                    )),
                }
            }
            _ => Err(SqlError::syntax(
                "improper qualified name (too many dotted names)",
            )),
        }
    }

    fn existing(&self, t: &mut Transaction, name: &ast::ObjectName) -> Result<Arc<Relation>> {
        let schema = t.schema()?;
        let names = parts(name)?;
        let found = match names.as_slice() {
            [name] => self
                .search_path()
                .iter()
                .find_map(|space| schema.find(space, name)),
            [space, name] => schema.find(space, name),
            _ => None,
        };
        let found = found.cloned().ok_or_else(|| {
            SqlError::new(
                "42P01",
                format!("relation \"{}\" does not exist", names.join(".")),
            )
        })?;
        // Recorded for SERIALIZABLE.
        Ok(t.relation(&found.table.schema, &found.table.name)?)
    }

    /// A default as the catalog keeps it.
    fn kept_default(
        &self,
        t: &mut Transaction,
        column: &Column,
        expr: &ast::Expr,
    ) -> Result<Option<String>> {
        let schema = t.schema()?;
        let mut binder = self.binder(&schema, "", Vec::new());
        let typed = binder.expr(expr).map_err(|error| match error.sqlstate {
            "42703" => SqlError::new("0A000", "cannot use column reference in DEFAULT expression"),
            _ => error,
        })?;
        binder.assign(typed, column)?;
        Ok(Some(expr.to_string()))
    }

    #[allow(clippy::too_many_lines)]
    fn add_column(
        &mut self,
        t: &mut Transaction,
        draft: &mut Draft,
        def: &ast::ColumnDef,
    ) -> Result<()> {
        let ast::ColumnDef {
            name,
            data_type,
            options,
        } = def;
        let name = folded(name);
        if draft.table.column(&name).is_some() {
            return Err(SqlError::new(
                "42701",
                format!("column \"{name}\" specified more than once"),
            ));
        }
        let serial = serial(data_type);
        let column_type = match serial {
            Some(found) => found,
            None => column_type(data_type)?,
        };
        let at = draft.table.columns.len();
        draft.table.columns.push(Column {
            name: name.clone(),
            data_type: column_type,
            not_null: serial.is_some(),
            default: None,
            missing: None,
            dropped: false,
        });
        let mut owned = serial.is_some().then(|| (Vec::new(), None));
        for ast::ColumnOptionDef {
            name: constraint,
            option,
        } in options
        {
            let constraint = constraint.as_ref().map(folded);
            match option {
                ast::ColumnOption::Null => {}
                ast::ColumnOption::NotNull => draft.table.columns[at].not_null = true,
                ast::ColumnOption::Default(expr) => {
                    draft.table.columns[at].default =
                        self.kept_default(t, &draft.table.columns[at].clone(), expr)?;
                }
                ast::ColumnOption::PrimaryKey(ast::PrimaryKeyConstraint {
                    name: _,
                    index_name: _,
                    index_type: _,
                    columns: _,
                    index_options: _,
                    characteristics,
                }) => {
                    absent(
                        timing(characteristics)? != Timing::Immediate,
                        "a deferrable primary key",
                    )?;
                    self.set_primary(draft, constraint, vec![at])?;
                }
                ast::ColumnOption::Unique(unique) => {
                    let ast::UniqueConstraint {
                        name: _,
                        index_name: _,
                        index_type_display: _,
                        index_type: _,
                        columns: _,
                        index_options: _,
                        characteristics,
                        nulls_distinct,
                    } = unique;
                    draft.uniques.push(Unique {
                        name: constraint,
                        columns: vec![at],
                        timing: timing(characteristics)?,
                        nulls_not_distinct: matches!(
                            nulls_distinct,
                            ast::NullsDistinctOption::NotDistinct
                        ),
                    });
                }
                ast::ColumnOption::Check(ast::CheckConstraint {
                    name: _,
                    expr,
                    enforced,
                }) => {
                    absent(enforced.is_some(), "ENFORCED")?;
                    draft.table.checks.push(Check {
                        name: constraint
                            .unwrap_or_else(|| format!("{}_{name}_check", draft.table.name)),
                        expression: expr.to_string(),
                    });
                }
                ast::ColumnOption::ForeignKey(foreign) => {
                    self.add_foreign(t, draft, foreign, constraint, vec![at])?
                }
                ast::ColumnOption::Generated {
                    generated_as,
                    sequence_options,
                    generation_expr,
                    generation_expr_mode,
                    generated_keyword: _,
                } => {
                    absent(
                        generation_expr.is_some() || generation_expr_mode.is_some(),
                        "a generated column",
                    )?;
                    let kind = match generated_as {
                        ast::GeneratedAs::Always => "always",
                        ast::GeneratedAs::ByDefault => "default",
                        ast::GeneratedAs::ExpStored => {
                            return Err(SqlError::unsupported("a generated column"));
                        }
                    };
                    draft.table.columns[at].not_null = true;
                    owned = Some((sequence_options.clone().unwrap_or_default(), Some(kind)));
                }
                other => return Err(SqlError::unsupported(format!("column option {other}"))),
            }
        }
        if let Some((given, identity)) = owned {
            let schema = t.schema()?;
            let mut sequence_name = format!("{}_{name}_seq", draft.table.name);
            let mut number = 0;
            while schema.has_name(&draft.table.schema, &sequence_name) {
                number += 1;
                sequence_name = format!("{}_{name}_seq{number}", draft.table.name);
            }
            let quoted = format!(
                "{}.{}",
                super::name::quote(&draft.table.schema),
                super::name::quote(&sequence_name)
            );
            let mut sequence = new_sequence(t, &draft.table.schema, sequence_name, column_type);
            sequence_options(&mut sequence, &given)?;
            sequence.owned_by = Some((draft.table.id, at));
            draft.sequences.push(sequence);
            draft.table.columns[at].default =
                Some(format!("nextval('{}')", quoted.replace('\'', "''")));
            if let Some(kind) = identity {
                draft
                    .table
                    .options
                    .push((format!("identity.{at}"), kind.to_owned()));
            }
        }
        Ok(())
    }

    fn set_primary(
        &self,
        draft: &mut Draft,
        name: Option<String>,
        columns: Vec<usize>,
    ) -> Result<()> {
        if draft.primary {
            return Err(SqlError::new(
                "42P16",
                format!(
                    "multiple primary keys for table \"{}\" are not allowed",
                    draft.table.name
                ),
            ));
        }
        draft.primary = true;
        draft.table.primary_name = name.unwrap_or_else(|| format!("{}_pkey", draft.table.name));
        for column in &columns {
            draft.table.columns[*column].not_null = true;
        }
        draft.table.primary_key = columns;
        Ok(())
    }

    fn add_foreign(
        &self,
        t: &mut Transaction,
        draft: &mut Draft,
        foreign: &ast::ForeignKeyConstraint,
        name: Option<String>,
        columns: Vec<usize>,
    ) -> Result<()> {
        let ast::ForeignKeyConstraint {
            name: _,
            index_name: _,
            columns: _,
            foreign_table,
            referred_columns,
            on_delete,
            on_update,
            match_kind,
            characteristics,
        } = foreign;
        absent(
            matches!(
                match_kind,
                Some(
                    ast::ConstraintReferenceMatchKind::Full
                        | ast::ConstraintReferenceMatchKind::Partial
                )
            ),
            "MATCH FULL",
        )?;
        let own = parts(foreign_table)?;
        let is_self = own.last() == Some(&draft.table.name)
            && (own.len() == 1 || own[0] == draft.table.schema);
        let parent = if is_self {
            Arc::new(Relation {
                table: draft.table.clone(),
                indexes: Vec::new(),
            })
        } else {
            self.existing(t, foreign_table)?
        };
        let referred: Vec<usize> = match referred_columns.is_empty() {
            true if parent.table.hidden_key || parent.table.primary_key.is_empty() => {
                return Err(SqlError::new(
                    "42704",
                    format!(
                        "there is no primary key for referenced table \"{}\"",
                        parent.table.name
                    ),
                ));
            }
            true => parent.table.primary_key.clone(),
            false => referred_columns
                .iter()
                .map(|name| place(&parent.table, &folded(name)))
                .collect::<Result<_>>()?,
        };
        if referred.len() != columns.len() {
            return Err(SqlError::new(
                "42830",
                "number of referencing and referenced columns for foreign key disagree",
            ));
        }
        let plain = |index: &Index| -> Option<Vec<usize>> {
            index
                .parts
                .iter()
                .map(|(part, _)| match part {
                    IndexPart::Column(c) => Some(*c),
                    IndexPart::Expression(_) => None,
                })
                .collect()
        };
        let own_unique = is_self
            && draft
                .uniques
                .iter()
                .any(|unique| unique.columns == referred);
        let is_key = parent.table.primary_key == referred
            || own_unique
            || parent.indexes.iter().any(|index| {
                index.unique
                    && index.predicate.is_none()
                    && plain(index).as_ref() == Some(&referred)
            });
        if !is_key {
            return Err(SqlError::new(
                "42830",
                format!(
                    "there is no unique constraint matching given keys for referenced table \"{}\"",
                    parent.table.name
                ),
            ));
        }
        for (own, other) in columns.iter().zip(&referred) {
            let (a, b) = (
                of_column(draft.table.columns[*own].data_type).0,
                of_column(parent.table.columns[*other].data_type).0,
            );
            if a != b && !(a.is_integer() && b.is_integer()) && !(a.is_text() && b.is_text()) {
                return Err(
                    SqlError::new("42804", "foreign key constraint cannot be implemented").detail(
                        format!("Key columns are of incompatible types: {a} and {b}."),
                    ),
                );
            }
        }
        let names: Vec<_> = columns
            .iter()
            .map(|column| draft.table.columns[*column].name.clone())
            .collect();
        draft.table.foreign_keys.push(ForeignKey {
            name: name.unwrap_or_else(|| format!("{}_{}_fkey", draft.table.name, names.join("_"))),
            columns,
            parent: if is_self {
                draft.table.id
            } else {
                parent.table.id
            },
            parent_columns: referred,
            on_delete: action(on_delete)?,
            on_update: action(on_update)?,
            timing: timing(characteristics)?,
        });
        Ok(())
    }

    fn add_constraint(
        &self,
        t: &mut Transaction,
        draft: &mut Draft,
        constraint: &ast::TableConstraint,
    ) -> Result<()> {
        let places = |table: &Table, names: Vec<String>| -> Result<Vec<usize>> {
            names.iter().map(|name| place(table, name)).collect()
        };
        match constraint {
            ast::TableConstraint::PrimaryKey(ast::PrimaryKeyConstraint {
                name,
                index_name: _,
                index_type,
                columns,
                index_options,
                characteristics,
            }) => {
                absent(
                    index_type.is_some() || !index_options.is_empty(),
                    "an index option of a constraint",
                )?;
                absent(
                    timing(characteristics)? != Timing::Immediate,
                    "a deferrable primary key",
                )?;
                let columns = places(&draft.table, plain_key(columns)?)?;
                self.set_primary(draft, name.as_ref().map(folded), columns)
            }
            ast::TableConstraint::Unique(ast::UniqueConstraint {
                name,
                index_name: _,
                index_type_display: _,
                index_type,
                columns,
                index_options,
                characteristics,
                nulls_distinct,
            }) => {
                absent(
                    index_type.is_some() || !index_options.is_empty(),
                    "an index option of a constraint",
                )?;
                draft.uniques.push(Unique {
                    name: name.as_ref().map(folded),
                    columns: places(&draft.table, plain_key(columns)?)?,
                    timing: timing(characteristics)?,
                    nulls_not_distinct: matches!(
                        nulls_distinct,
                        ast::NullsDistinctOption::NotDistinct
                    ),
                });
                Ok(())
            }
            ast::TableConstraint::ForeignKey(foreign) => {
                let columns = foreign
                    .columns
                    .iter()
                    .map(|name| place(&draft.table, &folded(name)))
                    .collect::<Result<Vec<_>>>()?;
                self.add_foreign(
                    t,
                    draft,
                    foreign,
                    foreign.name.as_ref().map(folded),
                    columns,
                )
            }
            ast::TableConstraint::Check(ast::CheckConstraint {
                name,
                expr,
                enforced,
            }) => {
                absent(enforced.is_some(), "ENFORCED")?;
                let mut chosen = name.as_ref().map(folded);
                let mut number = 0;
                while chosen.is_none() {
                    let suffix = if number == 0 {
                        String::new()
                    } else {
                        number.to_string()
                    };
                    let made = format!("{}_check{suffix}", draft.table.name);
                    if draft.table.checks.iter().all(|check| check.name != made) {
                        chosen = Some(made);
                    }
                    number += 1;
                }
                draft.table.checks.push(Check {
                    name: chosen.unwrap_or_default(),
                    expression: expr.to_string(),
                });
                Ok(())
            }
            _ => Err(SqlError::unsupported("this kind of constraint")),
        }
    }

    fn index_of(
        &self,
        t: &Transaction,
        table: &Table,
        unique: Unique,
        taken: &mut Vec<String>,
    ) -> Index {
        let names: Vec<_> = unique
            .columns
            .iter()
            .map(|column| table.columns[*column].name.clone())
            .collect();
        let base = format!("{}_{}_key", table.name, names.join("_"));
        let mut name = unique.name.clone().unwrap_or_else(|| base.clone());
        let mut number = 0;
        while unique.name.is_none() && taken.contains(&name) {
            number += 1;
            name = format!("{base}{number}");
        }
        taken.push(name.clone());
        Index {
            id: t.new_object_id(),
            table: table.id,
            storage: t.new_object_id(),
            name,
            parts: unique
                .columns
                .iter()
                .map(|column| (IndexPart::Column(*column), Direction::ASCENDING))
                .collect(),
            unique: true,
            nulls_not_distinct: unique.nulls_not_distinct,
            predicate: None,
            constraint: Some(unique.timing),
            state: IndexState::Public,
        }
    }

    async fn create_table(
        &mut self,
        t: &mut Transaction,
        create: &ast::CreateTable,
    ) -> Result<Answer> {
        let ast::CreateTable {
            or_replace,
            temporary,
            external,
            dynamic,
            global,
            if_not_exists,
            transient,
            volatile,
            iceberg,
            snapshot,
            name,
            columns,
            constraints,
            hive_distribution,
            hive_formats,
            table_options,
            file_format,
            location,
            query,
            without_rowid,
            like,
            clone,
            version,
            comment,
            on_commit,
            on_cluster,
            primary_key,
            order_by,
            partition_by,
            cluster_by,
            clustered_by,
            inherits,
            partition_of,
            for_values,
            strict,
            copy_grants,
            enable_schema_evolution,
            change_tracking,
            data_retention_time_in_days,
            max_data_extension_time_in_days,
            default_ddl_collation,
            with_aggregation_policy,
            with_row_access_policy,
            with_storage_lifecycle_policy,
            with_tags,
            external_volume,
            base_location,
            catalog,
            catalog_sync,
            storage_serialization_policy,
            target_lag,
            warehouse,
            refresh_mode,
            initialize,
            require_user,
            diststyle,
            distkey,
            sortkey,
            backup,
        } = create;
        absent(*temporary || global.is_some(), "a temporary table")?;
        absent(query.is_some(), "CREATE TABLE AS")?;
        absent(like.is_some(), "CREATE TABLE LIKE")?;
        absent(
            inherits.is_some()
                || partition_of.is_some()
                || for_values.is_some()
                || partition_by.is_some(),
            "inheritance or partitions",
        )?;
        absent(on_commit.is_some(), "ON COMMIT")?;
        let foreign = *or_replace
            || *external
            || *dynamic
            || *transient
            || *volatile
            || *iceberg
            || *snapshot
            || file_format.is_some()
            || location.is_some()
            || *without_rowid
            || clone.is_some()
            || version.is_some()
            || comment.is_some()
            || on_cluster.is_some()
            || primary_key.is_some()
            || order_by.is_some()
            || cluster_by.is_some()
            || clustered_by.is_some()
            || *strict
            || *copy_grants
            || enable_schema_evolution.is_some()
            || change_tracking.is_some()
            || data_retention_time_in_days.is_some()
            || max_data_extension_time_in_days.is_some()
            || default_ddl_collation.is_some()
            || with_aggregation_policy.is_some()
            || with_row_access_policy.is_some()
            || with_storage_lifecycle_policy.is_some()
            || with_tags.is_some()
            || external_volume.is_some()
            || base_location.is_some()
            || catalog.is_some()
            || catalog_sync.is_some()
            || storage_serialization_policy.is_some()
            || target_lag.is_some()
            || warehouse.is_some()
            || refresh_mode.is_some()
            || initialize.is_some()
            || *require_user
            || diststyle.is_some()
            || distkey.is_some()
            || sortkey.is_some()
            || backup.is_some()
            || !matches!(hive_distribution, ast::HiveDistributionStyle::NONE);
        absent(foreign, "this form of CREATE TABLE")?;
        if let Some(ast::HiveFormat {
            row_format,
            serde_properties,
            storage,
            location,
        }) = hive_formats
        {
            absent(
                row_format.is_some()
                    || serde_properties.is_some()
                    || storage.is_some()
                    || location.is_some(),
                "this form of CREATE TABLE",
            )?;
        }
        let (schema, table_name) = self.creating(t, name)?;
        if t.schema()?.has_name(&schema, &table_name) {
            if *if_not_exists {
                self.notice(
                    "NOTICE",
                    "42P07",
                    format!("relation \"{table_name}\" already exists, skipping"),
                );
                return done("CREATE TABLE");
            }
            return Err(SqlError::new(
                "42P07",
                format!("relation \"{table_name}\" already exists"),
            ));
        }
        let given = match table_options {
            ast::CreateTableOptions::None => Vec::new(),
            ast::CreateTableOptions::With(given) => options(given)?,
            _ => return Err(SqlError::unsupported("this kind of table options")),
        };
        let mut draft = Draft {
            table: Table {
                id: t.new_object_id(),
                storage: t.new_object_id(),
                schema,
                name: table_name,
                columns: Vec::new(),
                primary_key: Vec::new(),
                primary_name: String::new(),
                checks: Vec::new(),
                foreign_keys: Vec::new(),
                hidden_key: false,
                options: given,
            },
            uniques: Vec::new(),
            sequences: Vec::new(),
            primary: false,
        };
        for column in columns {
            self.add_column(t, &mut draft, column)?;
        }
        for constraint in constraints {
            self.add_constraint(t, &mut draft, constraint)?;
        }
        let Draft {
            mut table,
            uniques,
            sequences,
            primary,
        } = draft;
        for check in &table.checks {
            constraint::bind(&table, &check.expression, true)?;
        }
        if !primary {
            table.hidden_key = true;
            table.primary_key = vec![table.columns.len()];
            table.columns.push(hidden_column());
            table.primary_name = format!("{}_pkey", table.name);
        }
        for sequence in sequences {
            t.put_sequence(sequence).await?;
        }
        let (schema, name) = (table.schema.clone(), table.name.clone());
        self.created.push(table.id);
        t.create_table(table).await?;
        let mut taken = Vec::new();
        for unique in uniques {
            let relation = t.relation(&schema, &name)?;
            let index = self.index_of(t, &relation.table, unique, &mut taken);
            t.create_index(&relation, index).await?;
        }
        done("CREATE TABLE")
    }

    async fn create_index(
        &mut self,
        t: &mut Transaction,
        create: &ast::CreateIndex,
    ) -> Result<Answer> {
        let ast::CreateIndex {
            name,
            table_name,
            using,
            columns,
            unique,
            concurrently: _,
            if_not_exists,
            include,
            nulls_distinct,
            with,
            predicate,
            index_options,
            alter_options,
        } = create;
        absent(
            !matches!(using, None | Some(ast::IndexType::BTree)),
            "another index method than btree",
        )?;
        absent(!include.is_empty(), "INCLUDE")?;
        absent(
            !index_options.is_empty() || !alter_options.is_empty(),
            "an option of CREATE INDEX",
        )?;
        for option in with {
            absent(
                !option.to_string().to_lowercase().starts_with("fillfactor"),
                "an index option",
            )?;
        }
        let relation = self.existing(t, table_name)?;
        let table = &relation.table;
        let mut key = Vec::new();
        let mut names = Vec::new();
        for ast::IndexColumn {
            column,
            operator_class,
        } in columns
        {
            absent(operator_class.is_some(), "an operator class")?;
            let ast::OrderByExpr {
                expr,
                options: ast::OrderByOptions { asc, nulls_first },
                with_fill,
            } = column;
            absent(with_fill.is_some(), "WITH FILL")?;
            let descending = *asc == Some(false);
            let direction = Direction {
                descending,
                nulls_first: nulls_first.unwrap_or(descending),
            };
            let part = match expr {
                ast::Expr::Identifier(ident) => {
                    let name = folded(ident);
                    names.push(name.clone());
                    IndexPart::Column(place(table, &name)?)
                }
                other => {
                    let (bound, data_type) = constraint::bind(table, &other.to_string(), false)?;
                    if bound.has_effects() {
                        return Err(SqlError::new(
                            "42P17",
                            "functions in index expression must be marked IMMUTABLE",
                        ));
                    }
                    absent(
                        data_type == super::types::SqlType::Json,
                        "an index over json",
                    )?;
                    names.push("expr".to_owned());
                    IndexPart::Expression(other.to_string())
                }
            };
            key.push((part, direction));
        }
        let predicate = match predicate {
            Some(predicate) => {
                constraint::bind(table, &predicate.to_string(), true)?;
                Some(predicate.to_string())
            }
            None => None,
        };
        let schema = t.schema()?;
        let name = match name {
            Some(name) => parts(name)?.pop().unwrap_or_default(),
            None => {
                let base = format!("{}_{}_idx", table.name, names.join("_"));
                let mut chosen = base.clone();
                let mut number = 0;
                while schema.has_name(&table.schema, &chosen) {
                    number += 1;
                    chosen = format!("{base}{number}");
                }
                chosen
            }
        };
        if schema.has_name(&table.schema, &name) && *if_not_exists {
            self.notice(
                "NOTICE",
                "42P07",
                format!("relation \"{name}\" already exists, skipping"),
            );
            return done("CREATE INDEX");
        }
        let index = Index {
            id: t.new_object_id(),
            table: table.id,
            storage: t.new_object_id(),
            name,
            parts: key,
            unique: *unique,
            nulls_not_distinct: *nulls_distinct == Some(false),
            predicate,
            constraint: None,
            state: IndexState::Public,
        };
        t.create_index(&relation, index).await?;
        done("CREATE INDEX")
    }

    /// Writes all rows of a table anew, under another definition and in other storages.
    async fn rewrite(
        &mut self,
        t: &mut Transaction,
        before: &Arc<Relation>,
        mut after: Table,
        change: impl Fn(Vec<Value>) -> Result<Vec<Value>>,
    ) -> Result<Arc<Relation>> {
        let storage = before.table.storage();
        let rows = t.rows_with_own(storage, &KeyRange::all())?;
        after.storage = t.new_object_id();
        let (schema, name) = (after.schema.clone(), after.name.clone());
        t.alter_table(before, after).await?;
        for index in &before.indexes {
            let mut index = index.clone();
            index.storage = t.new_object_id();
            t.put_index(index)?;
        }
        let relation = t.relation(&schema, &name)?;
        for row in rows {
            let values = change(crate::catalog::values(&before.table, &row?.1)?)?;
            if let Err(error) = t.insert(&relation, values.clone()).await {
                return Err(explained(error, &relation, &values));
            }
        }
        Ok(relation)
    }

    async fn alter_table(
        &mut self,
        t: &mut Transaction,
        alter: &ast::AlterTable,
    ) -> Result<Answer> {
        let ast::AlterTable {
            name,
            if_exists,
            only: _,
            operations,
            location,
            on_cluster,
            table_type,
            end_token: _,
        } = alter;
        absent(
            location.is_some() || on_cluster.is_some() || table_type.is_some(),
            "this form of ALTER TABLE",
        )?;
        let mut relation = match self.existing(t, name) {
            Err(error) if *if_exists && error.sqlstate == "42P01" => {
                self.notice(
                    "NOTICE",
                    "42P01",
                    format!("relation \"{name}\" does not exist, skipping"),
                );
                return done("ALTER TABLE");
            }
            other => other?,
        };
        for operation in operations {
            let id = relation.table.id;
            Box::pin(self.alter(t, &relation, operation)).await?;
            let schema = t.schema()?;
            let now = schema
                .relation(id)
                .map(|found| (found.table.schema.clone(), found.table.name.clone()));
            if let Some((schema, name)) = now {
                relation = t.relation(&schema, &name)?;
            }
        }
        done("ALTER TABLE")
    }

    #[allow(clippy::too_many_lines)]
    async fn alter(
        &mut self,
        t: &mut Transaction,
        relation: &Arc<Relation>,
        operation: &ast::AlterTableOperation,
    ) -> Result<()> {
        use ast::AlterTableOperation as Op;
        let mut table = relation.table.clone();
        match operation {
            Op::AddConstraint {
                constraint,
                not_valid,
            } => {
                absent(*not_valid, "NOT VALID")?;
                let had = !table.hidden_key;
                let mut draft = Draft {
                    table: table.clone(),
                    uniques: Vec::new(),
                    sequences: Vec::new(),
                    primary: had,
                };
                self.add_constraint(t, &mut draft, constraint)?;
                let Draft {
                    mut table,
                    uniques,
                    primary,
                    ..
                } = draft;
                if primary && !had {
                    let hidden = table.columns.len() - 1;
                    table.columns.pop();
                    table.hidden_key = false;
                    self.rewrite(t, relation, table, |mut row| {
                        row.truncate(hidden);
                        Ok(row)
                    })
                    .await?;
                    return Ok(());
                }
                for unique in uniques {
                    let schema = t.schema()?;
                    let mut taken: Vec<String> = relation
                        .indexes
                        .iter()
                        .map(|index| index.name.clone())
                        .collect();
                    let _ = schema;
                    let index = self.index_of(t, &relation.table, unique, &mut taken);
                    t.create_index(relation, index).await?;
                }
                if table.checks.len() > relation.table.checks.len() {
                    let check = table.checks[table.checks.len() - 1].clone();
                    if relation
                        .table
                        .checks
                        .iter()
                        .any(|known| known.name == check.name)
                    {
                        return Err(SqlError::new(
                            "42710",
                            format!(
                                "constraint \"{}\" for relation \"{}\" already exists",
                                check.name, table.name
                            ),
                        ));
                    }
                    constraint::bind(&table, &check.expression, true)?;
                    // Every row is looked at under the new definition.
                    self.rewrite(t, relation, table, Ok).await.map_err(|error| match error.sqlstate {
                        "23514" => SqlError::new("23514", format!("check constraint \"{}\" of relation \"{}\" is violated by some row", check.name, relation.table.name)),
                        _ => error,
                    })?;
                } else if table.foreign_keys.len() > relation.table.foreign_keys.len() {
                    self.rewrite(t, relation, table, Ok).await?;
                }
                Ok(())
            }
            Op::AddColumn {
                column_keyword: _,
                if_not_exists,
                column_def,
                column_position,
            } => {
                absent(column_position.is_some(), "a column position")?;
                let name = folded(&column_def.name);
                if table.column(&name).is_some() {
                    if *if_not_exists {
                        self.notice(
                            "NOTICE",
                            "42701",
                            format!(
                                "column \"{name}\" of relation \"{}\" already exists, skipping",
                                table.name
                            ),
                        );
                        return Ok(());
                    }
                    return Err(SqlError::new(
                        "42701",
                        format!(
                            "column \"{name}\" of relation \"{}\" already exists",
                            table.name
                        ),
                    ));
                }
                let hidden = table.hidden_key;
                let old_width = table.columns.len() - usize::from(hidden);
                table.columns.truncate(old_width);
                let mut draft = Draft {
                    table,
                    uniques: Vec::new(),
                    sequences: Vec::new(),
                    primary: !hidden,
                };
                self.add_column(t, &mut draft, column_def)?;
                let Draft {
                    mut table,
                    uniques,
                    sequences,
                    primary,
                } = draft;
                for check in &table.checks {
                    constraint::bind(&table, &check.expression, true)?;
                }
                for sequence in sequences {
                    t.put_sequence(sequence).await?;
                }
                let gains_key = hidden && primary;
                if gains_key {
                    table.hidden_key = false;
                } else if hidden {
                    table.primary_key = vec![table.columns.len()];
                    table.columns.push(hidden_column());
                }
                let default = table.columns[old_width].default.clone();
                // Each row gets the default computed for itself.
                let (expr, env) = {
                    let schema = t.schema()?;
                    let known = Arc::new(Relation {
                        table: table.clone(),
                        indexes: Vec::new(),
                    });
                    let expr = self
                        .binder(&schema, "", Vec::new())
                        .default_of(&known, old_width)?;
                    (expr, self.env(t, None, Vec::new())?)
                };
                let scope = super::expr::Scope::new(env);
                absent(
                    expr.has_effects() && default.is_some() && has_rows(t, relation)?,
                    "a serial column added to a table with rows",
                )?;
                self.rewrite(t, relation, table, |mut row| {
                    row.truncate(old_width);
                    row.push(if expr.has_effects() {
                        Value::Null
                    } else {
                        expr.eval(&[], &scope)?
                    });
                    Ok(row)
                })
                .await?;
                let mut taken: Vec<String> = relation
                    .indexes
                    .iter()
                    .map(|index| index.name.clone())
                    .collect();
                for unique in uniques {
                    let now = t.relation(&relation.table.schema, &relation.table.name)?;
                    let index = self.index_of(t, &now.table, unique, &mut taken);
                    t.create_index(&now, index).await?;
                }
                Ok(())
            }
            Op::DropColumn {
                has_column_keyword: _,
                column_names,
                if_exists,
                drop_behavior,
            } => {
                for name in column_names {
                    let name = folded(name);
                    let at = match place(&table, &name) {
                        Err(_) if *if_exists => {
                            self.notice(
                                "NOTICE",
                                "00000",
                                format!(
                                    "column \"{name}\" of relation \"{}\" does not exist, skipping",
                                    table.name
                                ),
                            );
                            continue;
                        }
                        other => other?,
                    };
                    absent(
                        table.primary_key.contains(&at),
                        "dropping a column of the primary key",
                    )?;
                    let parent_of =
                        t.schema()?.children(table.id).any(|child| {
                            child.table.foreign_keys.iter().any(|key| {
                                key.parent == table.id && key.parent_columns.contains(&at)
                            })
                        });
                    if parent_of && !matches!(drop_behavior, Some(ast::DropBehavior::Cascade)) {
                        return Err(SqlError::new(
                            "2BP01",
                            format!(
                                "cannot drop column {name} of table {} because other objects depend on it",
                                table.name
                            ),
                        ));
                    }
                    absent(parent_of, "DROP COLUMN ... CASCADE of a referenced column")?;
                    let uses = |index: &Index| {
                        index.parts.iter().any(
                            |(part, _)| matches!(part, IndexPart::Column(column) if *column == at),
                        )
                    };
                    for index in relation.indexes.iter().filter(|index| uses(index)) {
                        t.drop_index(relation, index).await?;
                    }
                    table.foreign_keys.retain(|key| !key.columns.contains(&at));
                    table.columns[at].dropped = true;
                    table.columns[at].not_null = false;
                    table.columns[at].default = None;
                    let without = table.clone();
                    table.checks.retain(|check| {
                        constraint::bind(&without, &check.expression, true).is_ok()
                    });
                    table.columns[at].name = format!("........pg.dropped.{}........", at + 1);
                }
                Ok(t.alter_table(relation, table).await?)
            }
            Op::DropConstraint {
                if_exists,
                name,
                drop_behavior: _,
            } => {
                let name = folded(name);
                let before = (table.checks.len(), table.foreign_keys.len());
                table.checks.retain(|check| check.name != name);
                table.foreign_keys.retain(|key| key.name != name);
                if before != (table.checks.len(), table.foreign_keys.len()) {
                    return Ok(t.alter_table(relation, table).await?);
                }
                if let Some(index) = relation
                    .indexes
                    .iter()
                    .find(|index| index.name == name && index.constraint.is_some())
                {
                    return Ok(t.drop_index(relation, index).await?);
                }
                if table.primary_name == name && !table.hidden_key {
                    if t.schema()?.children(table.id).next().is_some() {
                        return Err(SqlError::new(
                            "2BP01",
                            format!(
                                "cannot drop constraint {name} on table {} because other objects depend on it",
                                table.name
                            ),
                        ));
                    }
                    table.hidden_key = true;
                    table.primary_key = vec![table.columns.len()];
                    table.columns.push(hidden_column());
                    self.rewrite(t, relation, table, Ok).await?;
                    return Ok(());
                }
                if *if_exists {
                    self.notice(
                        "NOTICE",
                        "00000",
                        format!(
                            "constraint \"{name}\" of relation \"{}\" does not exist, skipping",
                            table.name
                        ),
                    );
                    return Ok(());
                }
                Err(SqlError::new(
                    "42704",
                    format!(
                        "constraint \"{name}\" of relation \"{}\" does not exist",
                        table.name
                    ),
                ))
            }
            Op::RenameColumn {
                old_column_name,
                new_column_name,
            } => {
                let (old, new) = (folded(old_column_name), folded(new_column_name));
                let at = place(&table, &old)?;
                if table.column(&new).is_some() {
                    return Err(SqlError::new(
                        "42701",
                        format!(
                            "column \"{new}\" of relation \"{}\" already exists",
                            table.name
                        ),
                    ));
                }
                table.columns[at].name = new;
                // Their text names columns: it is bound again under the new names.
                for check in &table.checks {
                    constraint::bind(&table, &check.expression, true).map_err(|_| {
                        SqlError::unsupported("renaming a column that a CHECK names")
                    })?;
                }
                for index in &relation.indexes {
                    let texts =
                        index
                            .predicate
                            .iter()
                            .chain(index.parts.iter().filter_map(|(part, _)| match part {
                                IndexPart::Expression(text) => Some(text),
                                IndexPart::Column(_) => None,
                            }));
                    for text in texts {
                        constraint::bind(&table, text, false).map_err(|_| {
                            SqlError::unsupported(
                                "renaming a column that an index expression names",
                            )
                        })?;
                    }
                }
                Ok(t.alter_table(relation, table).await?)
            }
            Op::RenameTable { table_name } => {
                let (ast::RenameTableNameKind::As(name) | ast::RenameTableNameKind::To(name)) =
                    table_name;
                table.name = parts(name)?.pop().unwrap_or_default();
                Ok(t.alter_table(relation, table).await?)
            }
            Op::AlterColumn { column_name, op } => {
                let at = place(&table, &folded(column_name))?;
                match op {
                    ast::AlterColumnOperation::SetNotNull => {
                        table.columns[at].not_null = true;
                        self.rewrite(t, relation, table, Ok)
                            .await
                            .map_err(|error| match error.sqlstate {
                                "23502" => SqlError::new(
                                    "23502",
                                    format!(
                                        "column \"{}\" of relation \"{}\" contains null values",
                                        relation.table.columns[at].name, relation.table.name
                                    ),
                                ),
                                _ => error,
                            })?;
                        Ok(())
                    }
                    ast::AlterColumnOperation::DropNotNull => {
                        if table.primary_key.contains(&at) {
                            return Err(SqlError::new(
                                "42P16",
                                format!(
                                    "column \"{}\" is in a primary key",
                                    table.columns[at].name
                                ),
                            ));
                        }
                        table.columns[at].not_null = false;
                        Ok(t.alter_table(relation, table).await?)
                    }
                    ast::AlterColumnOperation::SetDefault { value } => {
                        table.columns[at].default =
                            self.kept_default(t, &table.columns[at].clone(), value)?;
                        Ok(t.alter_table(relation, table).await?)
                    }
                    ast::AlterColumnOperation::DropDefault => {
                        table.columns[at].default = None;
                        Ok(t.alter_table(relation, table).await?)
                    }
                    ast::AlterColumnOperation::SetDataType {
                        data_type,
                        using,
                        had_set: _,
                    } => {
                        absent(using.is_some(), "ALTER COLUMN TYPE ... USING")?;
                        let to = column_type(data_type)?;
                        let (from, into) =
                            (of_column(table.columns[at].data_type).0, of_column(to).0);
                        if !cast::allowed(from, into, Strength::Assignment) {
                            return Err(SqlError::new(
                                "42804",
                                format!(
                                    "column \"{}\" cannot be cast automatically to type {into}",
                                    table.columns[at].name
                                ),
                            ));
                        }
                        table.columns[at].data_type = to;
                        self.rewrite(t, relation, table, |mut row| {
                            let value = std::mem::replace(&mut row[at], Value::Null);
                            row[at] = cast::fit(cast::cast(value, from, into)?, to, false)?;
                            Ok(row)
                        })
                        .await?;
                        Ok(())
                    }
                    ast::AlterColumnOperation::AddGenerated { .. } => {
                        Err(SqlError::unsupported("ADD GENERATED"))
                    }
                }
            }
            Op::SetOptionsParens { options: given } => {
                for (key, value) in options(given)? {
                    table.options.retain(|(known, _)| *known != key);
                    table.options.push((key, value));
                }
                Ok(t.alter_table(relation, table).await?)
            }
            other => Err(SqlError::unsupported(format!("ALTER TABLE {other}"))),
        }
    }

    async fn drop_objects(
        &mut self,
        t: &mut Transaction,
        kind: ast::ObjectType,
        if_exists: bool,
        names: &[ast::ObjectName],
        cascade: bool,
    ) -> Result<Answer> {
        let what = kind.to_string();
        for name in names {
            let all = parts(name)?;
            let last = all.last().cloned().unwrap_or_default();
            let schema = t.schema()?;
            let spaces: Vec<String> = match all.as_slice() {
                [space, _] => vec![space.clone()],
                _ => self.search_path().to_vec(),
            };
            let mut missing = false;
            match kind {
                ast::ObjectType::Table => match spaces
                    .iter()
                    .find_map(|space| schema.find(space, &last))
                    .cloned()
                {
                    Some(relation) => self.drop_table(t, &relation, cascade).await?,
                    None => missing = true,
                },
                ast::ObjectType::Index => match spaces
                    .iter()
                    .find_map(|space| schema.find_index(space, &last))
                {
                    Some((relation, index)) => {
                        if index.constraint.is_some() {
                            return Err(SqlError::new(
                                "2BP01",
                                format!(
                                    "cannot drop index {last} because constraint {last} on table {} requires it",
                                    relation.table.name
                                ),
                            ));
                        }
                        t.drop_index(relation, index).await?;
                    }
                    None => missing = true,
                },
                ast::ObjectType::Sequence => match spaces
                    .iter()
                    .find_map(|space| schema.find_sequence(space, &last))
                {
                    Some(sequence) => {
                        if sequence.owned_by.is_some() && !cascade {
                            return Err(SqlError::new(
                                "2BP01",
                                format!(
                                    "cannot drop sequence {last} because other objects depend on it"
                                ),
                            ));
                        }
                        t.drop_sequence(sequence).await?;
                    }
                    None => missing = true,
                },
                ast::ObjectType::Schema => {
                    if schema.schemas().contains(&last) {
                        if cascade {
                            let inside: Vec<_> = schema
                                .relations()
                                .filter(|relation| relation.table.schema == last)
                                .map(|relation| relation.table.name.clone())
                                .collect();
                            for table in inside {
                                let found = t.schema()?.find(&last, &table).cloned();
                                if let Some(relation) = found {
                                    self.drop_table(t, &relation, true).await?;
                                }
                            }
                            let now = t.schema()?;
                            let sequences: Vec<_> = now
                                .sequences()
                                .filter(|sequence| sequence.schema == last)
                                .cloned()
                                .collect();
                            for sequence in sequences {
                                t.drop_sequence(&sequence).await?;
                            }
                        }
                        t.drop_schema(&last).await?;
                    } else {
                        missing = true;
                    }
                }
                _ => return Err(SqlError::unsupported(format!("DROP {what}"))),
            }
            if missing {
                let kind_name = what.to_lowercase();
                let state = match kind {
                    ast::ObjectType::Schema => "3F000",
                    ast::ObjectType::Index => "42704",
                    _ => "42P01",
                };
                if !if_exists {
                    return Err(SqlError::new(
                        state,
                        format!("{kind_name} \"{}\" does not exist", all.join(".")),
                    ));
                }
                self.notice(
                    "NOTICE",
                    "00000",
                    format!("{kind_name} \"{}\" does not exist, skipping", all.join(".")),
                );
            }
        }
        done(&format!("DROP {what}"))
    }

    async fn drop_table(
        &mut self,
        t: &mut Transaction,
        relation: &Arc<Relation>,
        cascade: bool,
    ) -> Result<()> {
        let id = relation.table.id;
        let schema = t.schema()?;
        if cascade {
            let children: Vec<_> = schema
                .children(id)
                .filter(|child| child.table.id != id)
                .cloned()
                .collect();
            for child in children {
                let mut table = child.table.clone();
                table.foreign_keys.retain(|key| key.parent != id);
                t.alter_table(&child, table).await?;
            }
        }
        let owned: Vec<_> = schema
            .sequences()
            .filter(|sequence| sequence.owned_by.is_some_and(|(table, _)| table == id))
            .cloned()
            .collect();
        t.drop_table(relation).await?;
        for sequence in owned {
            t.drop_sequence(&sequence).await?;
        }
        Ok(())
    }

    async fn truncate(&mut self, t: &mut Transaction, truncate: &ast::Truncate) -> Result<Answer> {
        let ast::Truncate {
            table_names,
            partitions,
            table: _,
            if_exists,
            identity,
            cascade,
            on_cluster,
        } = truncate;
        absent(
            partitions.is_some() || *if_exists || on_cluster.is_some(),
            "this form of TRUNCATE",
        )?;
        let mut relations = Vec::new();
        for ast::TruncateTableTarget {
            name,
            only: _,
            has_asterisk: _,
        } in table_names
        {
            relations.push(self.existing(t, name)?);
        }
        let schema = t.schema()?;
        let mut at = 0;
        while at < relations.len() {
            let id = relations[at].table.id;
            for child in schema.children(id) {
                if relations
                    .iter()
                    .any(|known| known.table.id == child.table.id)
                {
                    continue;
                }
                if !matches!(cascade, Some(ast::CascadeOption::Cascade)) {
                    return Err(SqlError::new(
                        "0A000",
                        "cannot truncate a table referenced in a foreign key constraint",
                    )
                    .detail(format!(
                        "Table \"{}\" references \"{}\".",
                        child.table.name, relations[at].table.name
                    )));
                }
                self.notices.push(super::error::Notice {
                    severity: "NOTICE",
                    sqlstate: "00000",
                    message: format!("truncate cascades to table \"{}\"", child.table.name),
                });
                relations.push(child.clone());
            }
            at += 1;
        }
        for relation in &relations {
            let mut table = relation.table.clone();
            table.storage = t.new_object_id();
            t.alter_table(relation, table).await?;
            for index in &relation.indexes {
                let mut index = index.clone();
                index.storage = t.new_object_id();
                t.put_index(index)?;
            }
            self.created.push(relation.table.id);
        }
        if matches!(identity, Some(ast::TruncateIdentityOption::Restart)) {
            for sequence in schema.sequences() {
                let owner = sequence.owned_by.map(|(table, _)| table);
                if relations
                    .iter()
                    .any(|relation| Some(relation.table.id) == owner)
                {
                    self.database.set_value(sequence, sequence.start).await?;
                }
            }
        }
        done("TRUNCATE TABLE")
    }
}

fn has_rows(t: &mut Transaction, relation: &Relation) -> Result<bool> {
    let mut rows = t.rows_with_own(relation.table.storage(), &KeyRange::all())?;
    Ok(rows.next().transpose()?.is_some())
}
