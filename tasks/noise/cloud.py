"""Ordinary calls to control planes: people, pipelines and a cloud's own services in AWS, Azure, Google, Kubernetes and SaaS tenants."""

from __future__ import annotations

from itertools import chain
from typing import Any

from tasks.noise.rows import table

_WITH: tuple[dict[str, Any], ...] = (
    {},
    {"cloud_account": "<corp;corp;C02corp>"},
    {"src_ip": "<public>"},
)  # of a tenant's calls
_CALL = "api_service | api_operation | user_agent | resources"
_NUMBER = "<100000000000..999999999999>"  # of an AWS account
_REGION = "<eu-west-1;eu-central-1;us-east-1;ap-southeast-2>"
_CLIENT = "<aws-cli/2.15;Boto3/1.34;console.amazonaws.com;aws-sdk-go/1.50>"
_PIPELINE = "<aws-sdk-go-v2/1.30 Terraform/1.9;APN/1.0 HashiCorp/1.0 Terraform/1.9;aws-cli/2.17 exec-env/CI>"
_BY_PEOPLE = f"""
    ec2.amazonaws.com | <DescribeInstances;DescribeVolumes;DescribeSecurityGroups;DescribeSnapshots> | {_CLIENT} | {{"filterSet":{{}}}}
    ec2.amazonaws.com | RunInstances | {_CLIENT} | {{"instanceType":"<t3.micro;t3.medium;m5.large;c6i.xlarge>","maxCount":"<1..4>"}}
    ec2.amazonaws.com | <StopInstances;StartInstances;RebootInstances> | {_CLIENT} | {{"instancesSet":{{"items":[{{"instanceId":"i-<hex17>"}}]}}}}
    ec2.amazonaws.com | CreateTags | {_CLIENT} | {{"resourcesSet":["vol-<hex17>"],"tagSet":{{"items":[{{"key":"Owner","value":"<user>"}}]}}}}
    ec2.amazonaws.com | CreateSnapshot | {_CLIENT} | {{"volumeId":"vol-<hex17>","description":"before patch <1..40>"}}
    s3.amazonaws.com | <ListBuckets;GetBucketLocation;GetBucketVersioning> | {_CLIENT} | {{"bucketName":"<word>-<word2>"}}
    s3.amazonaws.com | PutObject | {_CLIENT} | {{"bucketName":"<word>-reports","key":"<2024..2026>/<word2>.csv"}}
    s3.amazonaws.com | PutBucketPolicy | {_CLIENT} | {{"bucketName":"<word>-assets","bucketPolicy":{{"Statement":[{{"Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}]}}}}
    s3.amazonaws.com | PutBucketPublicAccessBlock | {_CLIENT} | {{"bucketName":"<word>-assets","PublicAccessBlockConfiguration":{{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}}}}
    iam.amazonaws.com | <GetUser;ListRoles;ListAccessKeys;GetAccountSummary> | {_CLIENT} | {{"userName":"<user>"}}
    sts.amazonaws.com | GetCallerIdentity | {_CLIENT} | -
    cloudtrail.amazonaws.com | <DescribeTrails;GetTrailStatus;LookupEvents> | {_CLIENT} | {{"trailName":"org-trail"}}
    rds.amazonaws.com | <DescribeDBInstances;CreateDBSnapshot;ModifyDBInstance> | {_CLIENT} | {{"dBInstanceIdentifier":"<word>-db","backupRetentionPeriod":<7..35>}}
    lambda.amazonaws.com | <ListFunctions20150331;GetFunction20150331v2;Invoke> | {_CLIENT} | {{"functionName":"<word>-<word2>"}}
    logs.amazonaws.com | <DescribeLogGroups;FilterLogEvents;StartQuery> | {_CLIENT} | {{"logGroupName":"/aws/lambda/<word>"}}
    kms.amazonaws.com | <Decrypt;GenerateDataKey;DescribeKey> | {_CLIENT} | {{"keyId":"<guid>"}}
    secretsmanager.amazonaws.com | <ListSecrets;DescribeSecret> | {_CLIENT} | {{"secretId":"<word>/<word2>"}}
    ecr.amazonaws.com | <BatchGetImage;GetAuthorizationToken;DescribeRepositories> | docker/27.1 | {{"repositoryName":"<word>"}}
"""
AWS = (
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        "\n".join(f"{row.strip()} | <ip>" for row in _BY_PEOPLE.strip().splitlines()),
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        "\n".join(f"{row.strip()} | <public>" for row in _BY_PEOPLE.strip().splitlines()[::2]),
        user_uid=f"arn:aws:iam::{_NUMBER}:user/<user>",
        user_type="IAMUser",
        cloud_account=_NUMBER,
    ),
    # refused: a role lacks a right
    *table(
        "cloud_api call",
        f"{_CALL} | api_error | src_ip",
        f"""
        ce.amazonaws.com | GetCostAndUsage | {_CLIENT} | {{"granularity":"MONTHLY"}} | AccessDenied | <ip>
        ec2.amazonaws.com | <DescribeInstances;RunInstances> | {_CLIENT} | {{"dryRun":true}} | <Client.DryRunOperation;Client.UnauthorizedOperation> | <ip>
        s3.amazonaws.com | <GetObject;HeadObject> | {_CLIENT} | {{"bucketName":"<word>","key":"<word2>.json"}} | <NoSuchKey;AccessDenied> | <public>
        """,
        cloud_region=_REGION,
        aside=True,
        once=True,
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | api_error | src_ip",
        f"""
        ec2.amazonaws.com | <DescribeInstances;DescribeImages;RunInstances> | {_CLIENT} | {{"dryRun":true}} | <Client.DryRunOperation;Client.UnauthorizedOperation> | <ip>
        s3.amazonaws.com | <GetObject;HeadObject;GetBucketPolicy> | {_CLIENT} | {{"bucketName":"<word>","key":"<word2>.json"}} | <NoSuchKey;NoSuchBucketPolicy;AccessDenied> | <public>
        iam.amazonaws.com | <GetRole;GetUser;GetLoginProfile> | {_CLIENT} | {{"userName":"<word>"}} | <NoSuchEntityException;AccessDenied> | <public>
        sts.amazonaws.com | GetSessionToken | {_CLIENT} | {{"durationSeconds":3600}} | <ExpiredTokenException;AccessDenied> | <ip>
        """,
        user_uid=f"arn:aws:iam::{_NUMBER}:user/<user>",
        user_type="<IAMUser;AssumedRole>",
        cloud_account=_NUMBER,
        aside=True,
        once=True,
    ),
    # declared automation: pipelines and clusters by their web identity
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        f"""
        ecs.amazonaws.com | <UpdateService;RegisterTaskDefinition;DescribeServices> | {_PIPELINE} | {{"service":"<word>","cluster":"prod"}} | <public>
        s3.amazonaws.com | <PutObject;GetObject;DeleteObject> | {_PIPELINE} | {{"bucketName":"tf-state-<word>","key":"<word2>/terraform.tfstate"}} | <public>
        dynamodb.amazonaws.com | <PutItem;DeleteItem;DescribeTable> | {_PIPELINE} | {{"tableName":"tf-locks"}} | <public>
        secretsmanager.amazonaws.com | GetSecretValue | {_PIPELINE} | {{"secretId":"<word>/<word2>"}} | <public>
        cloudformation.amazonaws.com | <CreateChangeSet;ExecuteChangeSet;DescribeStacks> | {_PIPELINE} | {{"stackName":"<word>-<word2>"}} | <public>
        ec2.amazonaws.com | <CreateSecurityGroup;DescribeVpcs;CreateLaunchTemplate> | {_PIPELINE} | {{"groupName":"<word>-<word2>","vpcId":"vpc-<hex17>"}} | <public>
        iam.amazonaws.com | <GetRole;ListRolePolicies;GetPolicyVersion> | {_PIPELINE} | {{"roleName":"<word>-task"}} | <public>
        route53.amazonaws.com | ChangeResourceRecordSets | {_PIPELINE} | {{"hostedZoneId":"Z<hex12>","changeBatch":{{"changes":[{{"action":"UPSERT","resourceRecordSet":{{"name":"<word>.corp.example","type":"CNAME"}}}}]}}}} | <public>
        """,
        actor_user="",
        user_uid=f"arn:aws:sts::{_NUMBER}:assumed-role/<deploy;ci-main;terraform>/run-<1000..9999>",
        user_type="WebIdentityUser",
        cloud_region=_REGION,
        cloud_account=_NUMBER,
    ),
    # a cloud's own services, by the roles that are linked to them
    *table(
        "cloud_api call",
        f"{_CALL} | user_uid | src_ip",
        f"""
        ec2.amazonaws.com | RunInstances | autoscaling.amazonaws.com | {{"instanceType":"<m5.large;c5.4xlarge;g5.12xlarge>","maxCount":<1..12>}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling | -
        ec2.amazonaws.com | <TerminateInstances;DescribeInstanceStatus> | autoscaling.amazonaws.com | {{"instancesSet":{{"items":[{{"instanceId":"i-<hex17>"}}]}}}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling | -
        ssm.amazonaws.com | SendCommand | ssm.amazonaws.com | {{"documentName":"AWS-RunPatchBaseline","instanceIds":["i-<hex17>","i-<hex16>a"],"parameters":{{"Operation":["<Scan;Install>"]}}}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForAmazonSSM/PatchWindow | -
        ec2.amazonaws.com | DeleteSnapshot | backup.amazonaws.com | {{"snapshotId":"snap-<hex17>"}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForBackup/AWSBackup | -
        config.amazonaws.com | <PutEvaluations;DescribeConfigRules> | config.amazonaws.com | {{"resultToken":"<hex24>"}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForConfig/configLambda | -
        elasticloadbalancing.amazonaws.com | <RegisterTargets;DeregisterTargets> | ecs.amazonaws.com | {{"targets":[{{"id":"10.0.<1..9>.<5..250>","port":8080}}]}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForECS/ecs-service-scheduler | -
        kms.amazonaws.com | <CreateGrant;GenerateDataKey> | rds.amazonaws.com | {{"keyId":"<guid>"}} | arn:aws:sts::{_NUMBER}:assumed-role/AWSServiceRoleForRDS/rds | -
        """,
        actor_user="",
        user_type="<AssumedRole;AWSService>",
        cloud_region=_REGION,
        cloud_account=_NUMBER,
    ),
    # agents on machines
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        """
        ssm.amazonaws.com | <UpdateInstanceInformation;ListInstanceAssociations;PutInventory> | amazon-ssm-agent/3.3 | {"instanceId":"i-<hex17>"} | <ip>
        logs.amazonaws.com | <PutLogEvents;CreateLogStream> | CloudWatchAgent/1.3 | {"logGroupName":"/<word>/<word2>"} | <ip>
        """,
        actor_user="",
        user_uid=f"arn:aws:sts::{_NUMBER}:assumed-role/<word>-node/i-<hex17>",
        user_type="AssumedRole",
        cloud_region=_REGION,
    ),
)

_MEMBER = "<user>@corp.example"
_BY_ADMINISTRATORS = """
    Microsoft.Compute | Microsoft.Compute/virtualMachines/<start/action;restart/action;read;deallocate/action> | AZURECLI/2.6<0..9> | {"resourceId":"/subscriptions/<guid>/resourceGroups/<word>/providers/Microsoft.Compute/virtualMachines/<word2>"}
    Microsoft.Storage | Microsoft.Storage/storageAccounts/<read;write> | AZURECLI/2.6<0..9> | {"resourceId":"/subscriptions/<guid>/resourceGroups/<word>/providers/Microsoft.Storage/storageAccounts/<word2>"}
    Microsoft.Resources | Microsoft.Resources/deployments/write | Terraform/1.9 azurerm/3.1<10..17> | {"resourceId":"/subscriptions/<guid>/resourceGroups/<word>"}
    Core Directory | <Update user;Add member to group;Update group;Update device> | Mozilla/5.0 | [{"type":"User","userPrincipalName":"<other>@corp.example","modifiedProperties":[{"displayName":"<Department;JobTitle>","newValue":"[\\"<Word>\\"]"}]}]
    Core Directory | Update application | Mozilla/5.0 | [{"type":"Application","displayName":"<Word>","modifiedProperties":[{"displayName":"<Homepage;Notes>","newValue":"[\\"<word>\\"]"}]}]
    Core Directory | Update conditional access policy | Mozilla/5.0 | [{"displayName":"Require MFA","modifiedProperties":[{"displayName":"ConditionalAccessPolicy","newValue":"{\\"state\\":\\"enabled\\"}","oldValue":"{\\"state\\":\\"enabledForReportingButNotEnforced\\"}"}]}]
    Core Directory | Consent to application | Mozilla/5.0 | [{"displayName":"<Word>","modifiedProperties":[{"displayName":"ConsentAction.Permissions","newValue":"Scope: User.Read openid profile"}]}]
    Self-service Password Management | Self-service password reset flow activity progress | Mozilla/5.0 | [{"type":"User","userPrincipalName":"<user>@corp.example"}]
    Authentication Methods | User registered security info | Mozilla/5.0 | [{"type":"User","userPrincipalName":"<user>@corp.example"}]
    Exchange | <New-InboxRule;Set-InboxRule> | Outlook/16.0 | {"Parameters":[{"Name":"Name","Value":"<Word>"},{"Name":"From","Value":"news@<domain>"},{"Name":"MoveToFolder","Value":"<Newsletters;Projects;Travel;Invoices>"}]}
    Exchange | Set-Mailbox | Outlook/16.0 | {"Parameters":[{"Name":"Identity","Value":"<user>"},{"Name":"MaxSendSize","Value":"<20..50>MB"}]}
    Exchange | MailItemsAccessed | Outlook/16.0 | {"OperationProperties":[{"Name":"MailAccessType","Value":"Bind"}]}
    Exchange | Set-MailboxCalendarConfiguration | OWA | {"Parameters":[{"Name":"WorkingHoursStartTime","Value":"08:00"}]}
    SharePoint | <FileAccessed;FileModified;FileSyncDownloadedFull;SharingSet> | OneDriveMpc/1.0 | {"ObjectId":"https://corp.example/sites/<word>/<word2>.docx"}
    MicrosoftTeams | <MemberAdded;TeamsSessionStarted;ChannelAdded> | Teams/1.7 | {"TeamName":"<Word>"}
    okta | <user.session.start;user.authentication.sso;user.account.update_profile;application.user_membership.add> | Mozilla/5.0 | {"target":[{"type":"AppInstance","displayName":"<Word>"}],"outcome":{"result":"SUCCESS"}}
    okta | <user.lifecycle.create;group.user_membership.add;user.lifecycle.suspend> | Mozilla/5.0 | {"target":[{"type":"User","alternateId":"<other>@corp.example"}],"outcome":{"result":"SUCCESS"}}
    okta | user.mfa.factor.activate | Mozilla/5.0 | {"target":[{"type":"User","alternateId":"<user>@corp.example"}],"debugData":{"factor":"FIDO2"}}
    workspace/admin | <CHANGE_USER_PASSWORD;ADD_GROUP_MEMBER;CREATE_USER;CHANGE_CALENDAR_SETTING> | - | {"USER_EMAIL":"<other>@corp.example","GROUP_EMAIL":"<word>@corp.example"}
    workspace/drive | <edit;view;create;change_document_visibility> | - | {"doc_title":"<Word> plan","NEW_VALUE":"people_within_domain_with_link"}
    workspace/token | authorize | - | {"app_name":"<Word>","scope":"openid email profile"}
    compute.googleapis.com | v1.compute.instances.<list;get;insert;start;setLabels> | google-cloud-sdk gcloud/48<0..9> | {"resourceName":"projects/<word>/zones/europe-west1-b/instances/<word2>"}
    storage.googleapis.com | storage.<objects.get;objects.create;buckets.list> | google-cloud-sdk gcloud/48<0..9> | {"resourceName":"projects/_/buckets/<word>-<word2>"}
    cloudresourcemanager.googleapis.com | SetIamPolicy | google-cloud-sdk gcloud/48<0..9> | {"policyDelta":{"bindingDeltas":[{"action":"ADD","role":"roles/<viewer;logging.viewer;storage.objectViewer>","member":"user:<other>@corp.example"}]}}
"""


def _without_agent(rows: str) -> str:
    """Leave the user agent out of rows, as many audit logs do."""
    cells = (row.strip().split(" | ") for row in rows.strip().splitlines())
    return "\n".join(f"{service} | {operation} | {request}" for service, operation, _, request in cells)


TENANTS = (
    *table(
        "cloud_api call",
        _CALL,
        _BY_ADMINISTRATORS,
        src_ip="<public>",
        cloud_account="<corp;corp;C02corp>",
        actor_user=_MEMBER,
        user_uid=_MEMBER,
        user_type="user",
    ),
    *table(
        "cloud_api call",
        _CALL,
        _BY_ADMINISTRATORS,
        device_hostname="",
        src_ip="<public>",
        actor_user=_MEMBER,
        user_uid=_MEMBER,
        user_type="user",
    ),
    *chain.from_iterable(
        table(
            "cloud_api call",
            "api_service | api_operation | resources",
            _without_agent(_BY_ADMINISTRATORS),
            device_hostname="",
            **more,
            actor_user=_MEMBER,
            user_uid=_MEMBER,
            user_type="user",
        )
        for more in _WITH
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        """
        github | <git.clone;git.push;git.fetch;pull_request.merge;workflows.completed_workflow_run> | git/2.4<0..6> | {"org":"<word>","repo":"<word>/<word2>"} | <public>
        github | <repo.create;team.add_member;protected_branch.create;protected_branch.update_required_approving_review_count_enforcement_level> | Mozilla/5.0 | {"org":"<word>","repo":"<word>/<word2>","visibility":"private"} | <public>
        github | org.add_member | Mozilla/5.0 | {"org":"<word>","user":"<other>","permission":"read"} | <public>
        github | deploy_key.create | Mozilla/5.0 | {"org":"<word>","repo":"<word>/<word2>","read_only":"true"} | <public>
        """,
        user_uid="<user>",
        user_type="user",
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | user_uid | user_type | src_ip",
        """
        github | <pull_request.create;repo.update_dependency;workflows.prepared_workflow_job> | - | {"org":"<word>","repo":"<word>/<word2>"} | <dependabot[bot];renovate[bot]> | bot | -
        Core Directory | <Update device;Update user;Add registered owner to device> | - | [{"type":"Device","displayName":"<host>"}] | Device Registration Service | app | -
        okta | <system.agent.ad.connect;system.import.user.update> | - | {"outcome":{"result":"SUCCESS"}} | system@okta.com | SystemPrincipal | -
        compute.googleapis.com | v1.compute.instances.<insert;delete> | - | {"resourceName":"projects/<word>/zones/europe-west1-b/instances/gke-<word2>"} | service-<100000000000..999999999999>@compute-system.iam.gserviceaccount.com | serviceAccount | -
        """,
        actor_user="",
    ),
)
_OBJECT = '{"objectRef":{"resource":"%s","namespace":"<web;jobs;data;default>","name":"<word>-<hex5>"}}'
_KUBECTL = "kubectl/v1.<27..32>.<0..9>"
CLUSTERS = (
    *table(
        "cloud_api call",
        f"{_CALL} | src_ip",
        f"""
        kubernetes | <get;list;watch> pods | {_KUBECTL} | {_OBJECT % "pods"} | <ip>
        kubernetes | get pods/log | {_KUBECTL} | {_OBJECT % "pods"} | <ip>
        kubernetes | <get;list> <deployments;services;configmaps;ingresses;nodes;events> | {_KUBECTL} | {_OBJECT % "deployments"} | <ip>
        kubernetes | patch deployments | {_KUBECTL} | {{"objectRef":{{"resource":"deployments","namespace":"web","name":"<word>"}},"requestObject":{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"<word>","image":"registry.corp.example/<word>:<1..400>"}}]}}}}}}}}}} | <ip>
        kubernetes | create selfsubjectaccessreviews | {_KUBECTL} | {{"objectRef":{{"resource":"selfsubjectaccessreviews"}}}} | <ip>
        kubernetes | delete pods | {_KUBECTL} | {_OBJECT % "pods"} | <ip>
        kubernetes | get secrets | {_KUBECTL} | {{"objectRef":{{"resource":"secrets","namespace":"web","name":"<word>-tls"}}}} | <ip>
        kubernetes | create jobs | {_KUBECTL} | {{"objectRef":{{"resource":"jobs","namespace":"jobs","name":"<word>"}},"requestObject":{{"spec":{{"template":{{"spec":{{"containers":[{{"image":"registry.corp.example/<word>:latest","args":["--once"]}}]}}}}}}}}}} | <ip>
        """,
        user_uid="<user>@corp.example",
        user_type="user",
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | user_uid | src_ip",
        f"""
        kubernetes | <update;get;patch> leases | kube-controller-manager/v1.30 | {_OBJECT % "leases"} | system:kube-controller-manager | <ip>
        kubernetes | create pods | kube-controller-manager/v1.30 | {_OBJECT % "pods"} | system:serviceaccount:kube-system:replicaset-controller | <ip>
        kubernetes | <delete;create;patch> <pods;events;endpointslices> | kube-controller-manager/v1.30 | {_OBJECT % "pods"} | system:serviceaccount:kube-system:<job;endpointslice;node>-controller | <ip>
        kubernetes | <get;list;watch> secrets | kubelet/v1.30 | {_OBJECT % "secrets"} | system:node:<word>-<1..40> | <ip>
        kubernetes | create serviceaccounts/token | kubelet/v1.30 | {_OBJECT % "serviceaccounts"} | system:node:<word>-<1..40> | <ip>
        kubernetes | <list;watch> <secrets;configmaps;services> | Go-http-client/2.0 | {_OBJECT % "secrets"} | system:serviceaccount:<cert-manager;ingress;argocd>:<word> | <ip>
        kubernetes | <patch;update> <deployments;statefulsets> | argocd-application-controller/v2.1<0..3> | {_OBJECT % "deployments"} | system:serviceaccount:argocd:argocd-application-controller | <ip>
        """,
        actor_user="",
        user_type="service",
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | api_error | src_ip",
        f"kubernetes | <get;list> <nodes;pods> | {_KUBECTL} | {_OBJECT % 'nodes'} | <403;404> | <ip>",
        user_uid="<user>@corp.example",
        user_type="user",
        aside=True,
        once=True,
    ),
    *table(
        "cloud_api call",
        f"{_CALL} | api_error | user_uid | src_ip",
        f"""
        kubernetes | <get;patch> <leases;configmaps> | Go-http-client/2.0 | {_OBJECT % "configmaps"} | <404;409> | system:serviceaccount:<argocd;cert-manager;ingress>:<word> | <ip>
        kubernetes | get <pods;nodes> | kubelet/v1.30 | {_OBJECT % "pods"} | <404;403> | system:node:<word>-<1..40> | <ip>
        """,
        actor_user="",
        user_type="service",
        once=True,
    ),
)
ROWS = (*AWS, *TENANTS, *CLUSTERS)
