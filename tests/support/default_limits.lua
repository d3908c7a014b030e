-- default_limits.lua -- all limits of an app with their defaults, and the changes that a test
-- expects.

---@param changed table<string, number>
---@return table<string, number>
return function(changed)
  local all = {
    connections = 10000,
    handshake_seconds = 5,
    half_closed_seconds = 30,
    keep_alive_seconds = 75,
    keep_alive_requests = 1000,
    upload_backlog = 64 << 20,
    upload_backlog_per_address = 16 << 20,
    response_backlog = 256 << 20,
    response_backlog_per_address = 128 << 20,
    send_timeout = 30,
    min_send_rate = 1024,
    header_bytes = 16384,
    load_timeout = 5,
    processes = 32,
    backlog = 256 << 20,
    receive_backlog = 64 << 20,
    worker_backlog = 64 << 20,
    cluster_backlog = 64 << 20,
    cluster_members = 256 << 20,
    room_memory = 64 << 20,
    outgoing_sockets = 1000,
  }
  for name, value in pairs(changed) do all[name] = value end
  return all
end
