"""The properties that ``plasticrl.agents.check_recurrent`` tests, and how it tests them."""
