-- origin_check.lua -- refuses requests of pages that may not make them: handshakes, and the plain
-- requests that may change something.
--
-- origins.lua decides. Runs in a worker's Lua state; nothing here may wait.

local core = require "tidewire.core"
local errors = require "tidewire.errors"
local replies = require "tidewire.http.replies"

local origin_check = {}

--- The refusal after an error of the script. The client learns nothing of the error.
---@param err any
---@return tidewire.Reply
function origin_check.failed(err)
  core.count_error("script")
  errors.log(err)
  return replies.counted_as("script_error",
    replies.refusal(500, "The server could not decide."))
end

--- A refusal by the script; the log gets the text that the client gets.
---@param hook string
---@param reply tidewire.Reply
---@return tidewire.Reply
function origin_check.refused_by(hook, reply)
  local message = reply.status >= core.close_codes.first_private and reply.body or reply.message
  return replies.with_reason(replies.counted_as(hook, reply),
    hook .. " has refused it" .. (message and message ~= "" and ": " .. message or ""))
end

--- Warns once, for each endpoint and for the routes, of pages of other hosts where the option is
--- not set. Few apps expect them, so the line says what to write.
local function warn(endpoint, origin, request)
  if not core.is_first("origins", endpoint and endpoint.number) then
    return
  end
  local page = origin == "null" and 'no Origin ("null")' or origin
  local path = endpoint and ('"%s"'):format(endpoint.path) or "a route"
  local write = ('origins = { "%s" }'):format(origin)
  if not endpoint then
    write = ("defaults = { %s }"):format(write)
  end
  core.log("warn", "origins", nil, "why",
    ("a page of %s asks for %s at the host %s, and is refused, because the option `origins` is "
      .. 'not set; to allow that page write %s, to allow all pages origins = "*"; where a proxy '
      .. "has changed the host, let it pass on Host, or set trusted_proxies")
      :format(page, path, request.host or "none", write))
end

--- Asks `allow_origin` about a request. Returns nil where it is allowed.
---@param allow_origin tidewire.OriginCheck
---@param request tidewire.Request
---@param endpoint tidewire.PreparedEndpoint|nil  nil: of a route
---@return tidewire.Reply|nil refusal
function origin_check.refusal(allow_origin, request, endpoint)
  local ok, allowed, reason, status, message, other =
    errors.call("origins", allow_origin, request.headers.origin, request)
  if not ok then
    return origin_check.failed(allowed)
  elseif allowed then
    return nil
  elseif replies.is_refusal(status) then
    local made, reply = pcall(replies.of_validate, status, message)
    return made and origin_check.refused_by("origins", reply)
      or origin_check.failed(errors.new("script", reply, "origins"))
  end
  if other then
    warn(endpoint, other, request)
  end
  local origin = (" (Origin: %s)"):format(request.headers.origin or "none")
  return replies.counted_as("origins",
    replies.refuse(403, reason or "This Origin is not allowed.", nil, origin))
end

-- Methods that change nothing (RFC 9110 section 9.2.1).
local safe <const> = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }

--- The same for a plain request, of a page that would act with the cookies of its user. Requests
--- that change nothing are not asked about: no page of another host can read their responses,
--- unless the route's headers allow it. Browsers also send "null" in place of a page's own Origin,
--- where it asks for no Referer; Sec-Fetch-Site, which no page can set, tells these.
---@param allow_origin tidewire.OriginCheck
---@param request tidewire.Request
---@return tidewire.Reply|nil refusal
function origin_check.route_refusal(allow_origin, request)
  local origin = not safe[request.method] and request.headers.origin
  if not origin or origin == "null" and request.headers["sec-fetch-site"] == "same-origin" then
    return nil
  end
  local reply = origin_check.refusal(allow_origin, request, nil)
  if reply and reply.status >= core.close_codes.first_private then -- of a function for handshakes
    return replies.with_reason(replies.refusal(403, reply.body ~= "" and reply.body or "Refused."),
      reply.why)
  end
  return reply
end

return origin_check
