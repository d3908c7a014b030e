-- app.lua -- welcome: the app that `scripts/run` starts first. It has a handler to change while it
-- runs, and links to the next steps.
--
-- Run:   scripts/run        or: build/release/tidewire examples/welcome/app.lua --watch
-- See:   http://127.0.0.1:8080/          the page talks to handler.lua, and shows its source
-- Edit:  handler.lua: message:upper() in place of message, and save. The page shows the new answer
--        at once.
-- Break: remove an "end", and save: the page and the log say where. The old code goes on.
-- Type:  scripts/run talk ws://127.0.0.1:8080/
--
-- handler.lua is the file to change. live.lua tells the page about new code, mount.lua adds the
-- examples chat and game, and public/ has the page. A browser's request for "/" gets the page, a
-- WebSocket gets the handler.

local mount = require "mount"

local docs = assert(package.searchpath("app", package.path)):gsub("[^/]*$", "") .. "../../docs/"

-- The documentation as it is written; docs.html makes pages of it.
local function read_docs(request)
  local name = request.params["*"]
  local file <close> = name:find("^[%a_/]+$") and io.open(docs .. name .. ".md", "r")
  if not file then return 404, "there is no such page; docs/ has them" end
  return { headers = { ["Content-Type"] = "text/plain; charset=utf-8" }, body = file:read("a") }
end

local app = {
  workers = 1, -- the game's: see its app.lua
  endpoints = {
    ["/"]     = "handler",
    ["/live"] = "live",
  },
  http = {
    ["/"]           = { static = "public" },
    ["GET /docs/*"] = read_docs,
  },
}

mount(app, "chat")
mount(app, "game")

return app
