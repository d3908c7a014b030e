-- conn_keys.lua -- the keys of a connection's integer and of its endpoint in its object.
--
-- No script writes such a key by mistake. C makes the key of the integer, and reads the integer by
-- it. Modules copy these keys into locals: they are read for every message.

local core = require "tidewire.core"

return {
  ID = core.conn_key, ---@type lightuserdata
  ENDPOINT = "\0endpoint",
}
