//! The HTTP API: JSON, events, metrics page, explorer, JSON-RPC for scripts that mine.
//!
//! ```text
//!  socket ─► server (accept, time limits) ─► access (Host, Origin, token) ─► endpoint/* ─► Backend
//!                                                    │                            ▲
//!                                                    └─► events (WebSocket) ──────┘ one ChainView
//! ```
//!
//! * [`backend`]: the seam; the node implements it.
//! * [`model`]: the types that cross the API.
//! * [`problem`]: how errors look.
//! * [`server`], [`access`], [`limits`]: who may ask, how much, how slowly.
//! * [`endpoint`]: one file per noun; each handler carries its own documentation, from which
//!   `/openapi.json` is made, so that no endpoint is served undocumented.

pub mod access;
pub mod backend;
pub mod endpoint;
pub mod events;
pub mod explorer;
pub mod extract;
pub mod limits;
pub mod model;
pub mod openapi;
pub mod problem;
pub mod rpc;
pub mod server;
pub mod state;

pub use backend::{Backend, ChainView};
pub use events::EventHub;
pub use server::{ApiServer, ApiSettings, StartError};
