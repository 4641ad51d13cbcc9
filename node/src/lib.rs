//! The cairn program: composition root of ledger, swarm, miner, wallet, API and CLI.
