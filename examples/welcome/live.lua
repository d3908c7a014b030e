-- live.lua -- sends pages the handler's source, and the number of loads of the code.
--
-- The server calls the hook `on_reload` for each page when new code was activated. A file that was
-- saved and cannot be loaded is not activated, so this file also reads the source itself and sends
-- pages the error.

local tw = require "tidewire"

local CHANGED_WITHIN = 0.25 -- seconds

local path = assert(package.searchpath("handler", package.path))
local pages = tw.room("live")

local function read_source()
  local file <close> = io.open(path, "r")
  return file and file:read("a") or "" -- an editor may be writing it at this moment
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

  -- Only pages of this server get the source code: not those of another port either.
  origins = function(origin, request)
    return origin:match("^https?://(.+)$") == request.host
  end,

  on_start = function(conn)
    conn:join(pages.name)
    conn:send(describe(read_source()))
  end,

  on_reload = function(conn) conn:send(describe(read_source())) end,
}
