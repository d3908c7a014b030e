-- live.lua -- tells pages which code runs: the handler's source, and how often it was loaded.
--
-- A page hears of new code from the hook `on_reload`, which is called for each connection when the
-- new code has taken over. A file that was saved and cannot be loaded does not take over; so the
-- source is looked at as well, and pages are told what is wrong with it.

local tw = require "tidewire"

local CHANGED_WITHIN = 0.25 -- seconds

local path = assert(package.searchpath("handler", package.path))
local pages = tw.room("live")

local function read_source()
  local file <close> = io.open(path, "r")
  return file and file:read("a") or "" -- an editor may be writing it anew at this moment
end

local function describe(source)
  local _, problem = load(source, "@handler.lua", "t", {})
  return { generation = tw.generation, path = path, source = source, problem = problem }
end

local shown = read_source()

tw.every(CHANGED_WITHIN, function()
  local source = read_source()
  if source == "" or source == shown then return end
  shown = source
  pages:broadcast(describe(source))
end)

return {
  codec = "json",

  -- Source code is for pages of this server alone.
  origins = function(origin, request) return origin:match("^https?://(.+)$") == request.headers.host end,

  on_start = function(conn)
    conn:join(pages.name)
    conn:send(describe(read_source()))
  end,

  on_reload = function(conn) conn:send(describe(read_source())) end,
}
