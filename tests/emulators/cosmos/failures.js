"use strict";
// Errors as the service words them: a status, and a body with `code` and `message`.

class ServiceError extends Error {
  constructor(statusCode, code, message) {
    super(message);
    this.statusCode = statusCode;
    this.body = { code, message };
  }
}

module.exports = {
  ServiceError,
  badRequest: message => new ServiceError(400, "BadRequest", message),
  unauthorized: message => new ServiceError(401, "Unauthorized", message),
  notFound: () => new ServiceError(404, "NotFound", "Entity with the specified id does not exist in the system."),
  conflict: message => new ServiceError(409, "Conflict", message),
  preconditionFailed: message => new ServiceError(412, "PreconditionFailed", message),
  tooLarge: message => new ServiceError(413, "RequestEntityTooLarge", message),
};
