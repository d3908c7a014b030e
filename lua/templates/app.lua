-- app.lua -- the app: its addresses, its WebSocket endpoints, its plain HTTP.
--
-- Run it:    tidewire app.lua          then open http://127.0.0.1:8080/
--            tidewire app.lua --watch  the same, and saved changes are activated at once
-- Check it:  tidewire check app.lua
-- Test it:   busted
return {
  listen = { "127.0.0.1:8080" },

  -- A path, and the module of this folder that serves it: handlers/hello.lua.
  endpoints = {
    ["/ws"] = "handlers.hello",
  },

  -- The page that talks to it, and /tidewire.mjs, the JavaScript client.
  http = {
    client = true,
    ["/"] = { static = "public" },
  },
}
