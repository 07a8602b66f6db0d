"""The prompt editor: completion, pastes as chips, external editor."""
